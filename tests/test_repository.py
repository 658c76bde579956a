"""What the repository may hold, and that its install files say what the code needs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 60 * 2**20
MAX_TOTAL = 220 * 2**20
DATASET_IMAGE = re.compile(
    r"(ISIC_\d{7}|IMD\d{3}|train-\d+-of-\d+|n\d{8}_\d+).*\.(jpe?g|png|bmp|webp|zip|parquet)$", re.I
)
REGISTRY_HOST = re.compile(r"\b(?:files\.pythonhosted|pypi|download\.pytorch|registry\.npmjs)\.(?:org|com)\b")
# Folders too common to tell anything of a machine.
COMMON = {Path(p) for p in ("/", "/tmp", "/home", "/opt", "/srv", "/mnt", "/app", "/var/tmp")}
# Needed without an import: timm is built on torchvision, pandas reads parquet with pyarrow, the map is drawn by the
# script inside plotly.
INDIRECT = {"torchvision", "pyarrow", "plotly"}


def _tracked() -> list[Path]:
    """Tracked files, and new ones that are not ignored; the tests that need git are skipped without it."""
    done = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT,
                          capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def _requirements(name: str) -> dict[str, str]:
    """Distribution -> version of a requirements file, without those it includes."""
    lines = [line.strip() for line in (ROOT / name).read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith(("#", "-r "))]
    unpinned = [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==\d+(\.\d+)*", line)]
    assert unpinned == [], f"{name} pins these inexactly"
    return dict(line.split("==") for line in lines)  # type: ignore[misc]


def _third_party(paths: list[Path]) -> set[str]:
    """Distributions imported anywhere in the files, as requirements name them."""
    trees = [ast.parse(p.read_text(encoding="utf-8")) for p in paths]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name.split(".")[0] for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    names |= {n.module.split(".")[0] for n in nodes if isinstance(n, ast.ImportFrom) and n.module and not n.level}
    names -= {*sys.stdlib_module_names, "dermdemo", "benchmarks", "scripts", "tests", "app"}
    known = metadata.packages_distributions()
    return {known.get(n, [n])[0].lower().replace("_", "-") for n in names}


def _sources(*folders: str) -> list[Path]:
    found = [p for f in folders for p in ([ROOT / f] if f.endswith(".py") else sorted((ROOT / f).rglob("*.py")))]
    return [p for p in found if p.exists()]


def test_no_large_file() -> None:
    large = {str(p.relative_to(ROOT)): p.stat().st_size for p in _tracked() if p.stat().st_size > MAX_BYTES}
    assert large == {}


def test_the_tree_stays_small() -> None:
    assert sum(p.stat().st_size for p in _tracked()) < MAX_TOTAL


def test_no_image_of_a_data_set() -> None:
    names = [str(p.relative_to(ROOT)) for p in _tracked()]
    assert [n for n in names if DATASET_IMAGE.search(n)] == []


@pytest.mark.parametrize("name", ["data/ISIC_0024306.jpg", "IMD003.bmp", "x/train-0-of-3.parquet", "n01443537_0.jpeg",
                                  "HAM10000/ISIC_0034320_small.PNG"])  # fmt: skip
def test_images_of_data_sets_are_recognised(name: str) -> None:
    assert DATASET_IMAGE.search(name)
    assert not DATASET_IMAGE.search("images/SYN_0000001.jpg")


def test_no_paths_of_this_machine() -> None:
    """The checkout, the folder it lies in and the home folder are named in no file."""
    local = [f"{p}/" for p in (ROOT, ROOT.parent, Path.home()) if p not in COMMON]
    texts = {str(p.relative_to(ROOT)): _text(p) or "" for p in _tracked()}
    assert [(name, place) for name, text in texts.items() for place in local if place in text] == []


def test_no_registry_host() -> None:
    bad = [str(p.relative_to(ROOT)) for p in _tracked()
           if p != Path(__file__) and REGISTRY_HOST.search(_text(p) or "")]  # fmt: skip
    assert bad == []


def test_no_pickled_weights() -> None:
    pickled = {".pt", ".pth", ".pkl", ".joblib", ".ckpt", ".bin"}
    assert [str(p.relative_to(ROOT)) for p in _tracked() if p.suffix in pickled] == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-bench.txt"])
def test_requirements_are_pinned_exactly(name: str) -> None:
    assert _requirements(name)


def test_run_time_requirements_are_what_the_code_imports() -> None:
    imported = _third_party(_sources("dermdemo", "app.py"))
    listed = set(_requirements("requirements.txt"))
    assert imported - listed == set(), "imported, but not in requirements.txt"
    assert listed - imported - INDIRECT == set(), "in requirements.txt, but never imported"


def test_test_requirements_cover_the_tests() -> None:
    listed = {**_requirements("requirements.txt"), **_requirements("requirements-dev.txt")}
    optional = {"gradio-client"}  # comes with gradio, at the version it needs
    assert _third_party(_sources("tests")) - set(listed) - optional == set()


def test_installed_versions_are_the_pinned_ones() -> None:
    installed = {name: metadata.version(name).split("+")[0] for name in _requirements("requirements.txt")}
    assert installed == _requirements("requirements.txt")


def test_plotly_stays_on_the_major_version_gradio_bundles() -> None:
    assert _requirements("requirements.txt").get("plotly", "6").split(".")[0] == "6"


def test_modules_stay_short() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines())
               for p in _sources("dermdemo", "app.py", "benchmarks", "tests")}  # fmt: skip
    assert {name: n for name, n in lengths.items() if n > 400} == {}


def test_the_project_file_reads_its_dependencies_from_requirements() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}
    assert {m.split(":")[0] for m in project["tool"]["pytest"]["ini_options"]["markers"]} == {
        "slow", "browser", "realdata"}  # fmt: skip
    assert project["tool"]["pytest"]["ini_options"]["filterwarnings"][0] == "error"


def test_ci_runs_the_one_test_command() -> None:
    script = ROOT / ".ci" / "run"
    text = script.read_text()
    assert script.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert "pip install -r requirements-dev.txt && python -m pytest" in text
    assert "ruff check" in text
    assert "mypy" in text
