"""The whole chain on synthetic lesions, by the commands a researcher types.

Only UMAP is left out, which takes 13 s and more to compile: tests/analysis/test_embed.py fits a real map, and the job
of tests/ui/admin/test_whole_path.py makes one by the command.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from dermdemo.analysis import embed
from dermdemo.cli import main
from dermdemo.config import PRESETS, FinetuneConfig, Preset, PretrainConfig, RunConfig, SupervisedConfig
from dermdemo.data.synthetic import write_synthetic
from dermdemo.recipes import Reproduction, run, steps
from tests.sets import pca_map

pytestmark = pytest.mark.slow

TINY: dict[str, RunConfig] = {
    "pretrain": PretrainConfig(latent=16, schedule="32x2,64x1", batch_size=32),
    "pretrain-supervised": SupervisedConfig(schedule="32x2", batch_size=32, val_fraction=0.1),
    "train": FinetuneConfig(schedule="64x3", batch_size=32, views=2),
}


def reproduction(root: Path) -> Reproduction:
    lesions = str(root / "lesions")
    return Reproduction(source=lesions, supervised=lesions, recipe="laptop", out=root, seeds=(),
                        encoder="convnext_atto", device="cpu", resamples=100)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage I, stand-in, both arms, evaluation, comparison and atlas, in one folder."""
    root = tmp_path_factory.mktemp("chain")
    write_synthetic(root / "lesions", n_lesions=140, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        for command, config in TINY.items():
            patch.setitem(PRESETS[command], "laptop", Preset(config=config, expects="Tiny."))
        patch.setattr(embed, "fit_map", pca_map)
        assert run(reproduction(root), main) == 0
    return root


def test_what_is_done_is_not_done_again_and_what_is_gone_is_missed(chain: Path, tmp_path: Path) -> None:
    def never(argv: Sequence[str]) -> int:
        raise AssertionError(argv)

    assert run(reproduction(chain), never) == 0
    copy = Path(shutil.copytree(chain / "checkpoints", tmp_path / "checkpoints"))
    shutil.rmtree(copy / "imagenet-arm")
    (tmp_path / "imagenet-arm").mkdir()
    (tmp_path / "imagenet-arm" / "config.json").touch()
    left = {step.name: step.state() for step in steps(reproduction(tmp_path)) if step.state() != "done"}
    assert left == {"imagenet-arm": "begun", "evaluate imagenet-arm": "to do", "compare": "to do", "embed": "to do"}
    asked: list[Sequence[str]] = []

    def broken(argv: Sequence[str]) -> int:
        asked.append(argv)
        return 1

    assert run(reproduction(tmp_path), broken) == 1
    assert len(asked) == 1 and asked[0][0] == "train" and asked[0][-1] == "--resume"


def test_the_study_table_compares_both_arms(chain: Path) -> None:
    out = chain / "comparison"
    assert "loss gap (val - train)" in (out / "comparison.txt").read_text()
    table = json.loads((out / "comparison.json").read_text())
    assert table["paired"]["n_images"] > 0
    assert (out / "curves.png").stat().st_size > 10_000


def test_cards_state_test_figures_and_the_baseline(chain: Path) -> None:
    for arm in ("vae-arm", "imagenet-arm"):
        card = (chain / "checkpoints" / arm / "MODEL_CARD.md").read_text()
        assert "PCA-64 of pixels" in card and "never a diagnosis" in card
    assert "not ImageNet-1k weights" in (chain / "checkpoints" / "imagenet-arm" / "MODEL_CARD.md").read_text()


def test_two_lesions_get_different_answers_and_one_bad_file_is_named(
        chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = sorted((chain / "lesions").rglob("*.jpg"))[:2]
    bad = tmp_path / "broken.jpg"
    bad.write_bytes(b"not an image")
    code = main(["analyse", *map(str, images), str(bad), "--json", "--checkpoints", str(chain / "checkpoints"),
                 "--device", "cpu"])
    assert code == 1
    results = json.loads(capsys.readouterr().out)
    assert [r["name"] for r in results] == [*(p.name for p in images), "broken.jpg"]
    assert "arms" not in results[2] and results[2]["error"]["reason"]
    first, second = results[:2]
    for arm in ("vae", "imagenet"):
        probabilities = first["arms"][arm]["probabilities"]
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
        assert probabilities != second["arms"][arm]["probabilities"]
    assert first["position"] != second["position"]
    assert first["neighbours"]


def test_csv_has_one_row_per_image(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = sorted((chain / "lesions").rglob("*.jpg"))[:3]
    store = str(chain / "checkpoints")
    code = main(["analyse", *map(str, images), "--csv", "--checkpoints", store, "--device", "cpu"])
    assert code == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 4 and lines[1].startswith(images[0].name)
