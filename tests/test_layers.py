"""Imports only go down: every import statement of the package, wherever it stands, against the layer rule.

L0 config errors types runtime diagnoses; L1 data, models; L2 training, evaluation, analysis; L3 jobs;
L4 ui, commands, cli and the entry points. Imports inside functions and under TYPE_CHECKING count too.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dermdemo"
LAYERS: dict[str, int] = {
    "": 0, "config": 0, "errors": 0, "types": 0, "runtime": 0, "diagnoses": 0,
    "data": 1, "models": 1,
    "training": 2, "evaluation": 2, "analysis": 2,
    "jobs": 3,
    "ui": 4, "commands": 4, "admin_commands": 4, "study_commands": 4, "recipes": 4, "cli": 4,
    "report_cli": 4, "__main__": 4,
}  # fmt: skip
# Within a layer, and upwards past it, these pairs are closed: (importer, imported).
CLOSED = {
    ("data", "models"), ("models", "data"),
    ("evaluation", "training"), ("evaluation", "analysis"), ("training", "analysis"),
    ("analysis", "training"), ("jobs", "training"), ("ui", "training"),
}  # fmt: skip
# Third-party packages that only these parts may import; `app` is app.py.
ONLY_IN: dict[str, set[str]] = {
    "gradio": {"ui", "app"}, "gradio_client": {"ui", "app"},
    "captum": {"analysis"}, "umap": {"analysis"},
    "lightning_fabric": {"training"}, "pytorch_metric_learning": {"training"},
    "submitit": {"jobs"}, "sqlite3": {"jobs"}, "argon2": {"jobs"},
    "timm": {"models", "training"},
}  # fmt: skip
NEVER_IN: dict[str, set[str]] = {"ui": {"torch", "torchvision", "timm", "captum"}}
# Too heavy for the head of a module: seconds to import, so they wait inside a function.
LAZY: dict[str, set[str]] = {
    "analysis": {"umap", "numba", "pynndescent", "captum", "torchvision"},
    "models": {"torchvision", "sklearn", "scipy", "pandas"},
    "commands": {"torch", "sklearn", "umap", "pandas", "matplotlib"},
    "admin_commands": {"torch", "sklearn", "umap", "pandas", "matplotlib", "submitit"},
    "study_commands": {"torch", "sklearn", "umap", "pandas", "matplotlib"},
    "cli": {"torch", "sklearn", "umap", "pandas", "matplotlib"},
}  # fmt: skip


class Import(NamedTuple):
    """One imported module, where it stands, and whether it runs when its file is imported."""

    path: str
    line: int
    module: str
    at_import: bool


def _modules(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    """Names that an import statement may load; `from a import b` counts as both a and a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        anchor = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*anchor, base] if base else anchor)
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


def imports_of(source: str, package: str, path: str = "<text>") -> Iterator[Import]:
    """Every import of a file; `package` is the dotted name of the package the file lies in."""

    def visit(node: ast.AST, at_import: bool) -> Iterator[Import]:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (Import(path, node.lineno, m, at_import) for m in _modules(node, package))
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        lazy = inside or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_import and not lazy)

    return visit(ast.parse(source), True)


def _files() -> list[Path]:
    return [p for p in (ROOT / "app.py", *sorted(PACKAGE.rglob("*.py"))) if p.exists()]


def _part(path: Path) -> str:
    """Part of the package a file belongs to: a sub-package, a module, or `app`."""
    if path.parent == ROOT:
        return "app"
    inner = path.relative_to(PACKAGE).parts
    return inner[0] if len(inner) > 1 else inner[0].removesuffix(".py").replace("__init__", "")


def _imports(path: Path) -> list[Import]:
    package = ".".join(path.relative_to(ROOT).parts[:-1])
    return list(imports_of(path.read_text(encoding="utf-8"), package, str(path.relative_to(ROOT))))


def _own_part(module: str) -> str | None:
    """`dermdemo.data.images` -> `data`; a name inside `dermdemo/__init__.py` -> ``; None for others."""
    names = module.split(".")
    if names[0] != "dermdemo":
        return None
    exists = len(names) > 1 and ((PACKAGE / names[1]).is_dir() or (PACKAGE / f"{names[1]}.py").exists())
    return names[1] if exists else ""


def layer_faults(part: str, found: list[Import]) -> list[str]:
    """Imports of one part that go up, sideways through a closed pair, or out of the parts allowed to."""
    faults = []
    for item in found:
        where = f"{item.path}:{item.line} imports {item.module}"
        target = _own_part(item.module)
        if target is not None and part != "app":
            if LAYERS[target] > LAYERS[part]:
                faults.append(f"{where}: upwards")
            elif (part, target) in CLOSED:
                faults.append(f"{where}: closed to {part}")
        top = item.module.split(".")[0]
        if part not in ONLY_IN.get(top, {part}):
            faults.append(f"{where}: only in {', '.join(sorted(ONLY_IN[top]))}")
        if top in NEVER_IN.get(part, set()):
            faults.append(f"{where}: never in {part}")
        if item.at_import and top in LAZY.get(part, set()):
            faults.append(f"{where}: must wait inside a function")
    return sorted(set(faults))


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    assert layer_faults(_part(path), _imports(path)) == []


def test_every_part_has_a_layer() -> None:
    assert {_part(p) for p in _files()} - {"app"} <= set(LAYERS)


@pytest.mark.parametrize(("part", "source", "fault"), [
    ("data", "from dermdemo.models.vae import VAE", "closed to data"),
    ("models", "import dermdemo.training.loop", "upwards"),
    ("analysis", "def f():\n    from dermdemo.training import losses", "closed to analysis"),
    ("jobs", "from dermdemo import training", "closed to jobs"),
    ("ui", "from ..training.events import read_events", "closed to ui"),
    ("ui", "def f():\n    import torch.nn", "never in ui"),
    ("models", "import gradio as gr", "only in"),
    ("analysis", "import umap", "must wait"),
    ("analysis", "class A:\n    import numba", "must wait"),
    ("cli", "import torch", "must wait"),
    ("config", "from dermdemo.data.sources import load_source", "upwards"),
])  # fmt: skip
def test_the_walk_sees_forbidden_imports(part: str, source: str, fault: str) -> None:
    faults = layer_faults(part, list(imports_of(source, f"dermdemo.{part}")))
    assert faults, f"nothing found in {source!r}"
    assert fault in faults[0]


@pytest.mark.parametrize(("part", "source"), [
    ("analysis", "def fit():\n    import umap"),
    ("training", "from dermdemo.evaluation.predict import predict"),
    ("cli", "def main():\n    from dermdemo.training.runs import run_train"),
    ("data", "from dermdemo import RESEARCH_NOTICE"),
    ("ui", "import gradio"),
])
def test_the_walk_lets_the_rest_pass(part: str, source: str) -> None:
    assert layer_faults(part, list(imports_of(source, f"dermdemo.{part}"))) == []


def _run_without(blocked: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter where importing the blocked packages fails."""
    guard = f"import sys\nsys.modules.update(dict.fromkeys({blocked!r}))\n"
    return subprocess.run([sys.executable, "-c", guard + code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_training_needs_neither_gradio_nor_umap() -> None:
    modules = [f"dermdemo.training.{p.stem}" for p in sorted((PACKAGE / "training").glob("[!_]*.py"))]
    done = _run_without(("gradio", "umap", "plotly", "captum"), "".join(f"import {m}\n" for m in modules))
    assert done.returncode == 0, done.stderr


def test_the_command_line_answers_without_torch() -> None:
    code = "from dermdemo.cli import main\nraise SystemExit(main(['--help']))"
    done = _run_without(("torch", "sklearn", "umap", "gradio"), code)
    assert done.returncode == 0, done.stderr
    assert "pretrain" in done.stdout
