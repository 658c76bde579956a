"""The whole chain on synthetic lesions, by the commands a researcher types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dermdemo.cli import main
from dermdemo.data.synthetic import write_synthetic

ENCODER = ["--encoder", "convnext_atto", "--device", "cpu"]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage I, both arms, evaluation and atlas, in one folder."""
    root = tmp_path_factory.mktemp("chain")
    lesions = str(write_synthetic(root / "lesions", n_lesions=140, seed=1))
    store = ["--store", str(root / "store")]
    steps = [
        ["pretrain", lesions, *ENCODER, "--latent", "16", "--schedule", "32x4,64x2", "--batch-size", "32",
         "--out", str(root / "vae"), *store],
        ["pretrain-supervised", lesions, *ENCODER, "--schedule", "32x2,64x1", "--batch-size", "32", "--val-fraction",
         "0.1", "--out", str(root / "stand-in"), *store],
        ["train", lesions, "--arm", "vae", *ENCODER, "--schedule", "64x4", "--batch-size", "32",
         "--out", str(root / "vae-arm"), *store],
        ["train", lesions, "--arm", "imagenet", *ENCODER, "--weights", str(root / "store" / "stand-in"), "--schedule",
         "64x4", "--batch-size", "32", "--out", str(root / "imagenet-arm"), *store],
        ["trim", str(root / "store" / "stand-in")],
        ["evaluate", str(root / "store" / "vae-arm"), lesions, "--out", str(root / "vae-arm"), "--save",
         "--resamples", "100", "--device", "cpu"],
        ["evaluate", str(root / "store" / "imagenet-arm"), lesions, "--out", str(root / "imagenet-arm"), "--save",
         "--resamples", "100", "--device", "cpu"],
        ["embed", lesions, "--checkpoints", str(root / "store"), "--device", "cpu"],
    ]
    for step in steps:
        assert main(step) == 0, step
    return root


def test_the_study_table_compares_both_arms(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = chain / "comparison"
    assert main(["compare", str(chain / "vae-arm"), str(chain / "imagenet-arm"), "--out", str(out),
                 "--resamples", "100"]) == 0
    assert "loss gap (val - train)" in capsys.readouterr().out
    table = json.loads((out / "comparison.json").read_text())
    assert table["paired"]["n_images"] > 0
    assert (out / "curves.png").stat().st_size > 10_000


def test_cards_state_test_figures_and_the_baseline(chain: Path) -> None:
    for arm in ("vae-arm", "imagenet-arm"):
        card = (chain / "store" / arm / "MODEL_CARD.md").read_text()
        assert "PCA-64 of pixels" in card and "never a diagnosis" in card
    assert "not ImageNet-1k weights" in (chain / "store" / "imagenet-arm" / "MODEL_CARD.md").read_text()


def test_two_lesions_get_different_answers_and_one_bad_file_is_named(
        chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = sorted((chain / "lesions").rglob("*.jpg"))[:2]
    bad = tmp_path / "broken.jpg"
    bad.write_bytes(b"not an image")
    code = main(["analyse", *map(str, images), str(bad), "--json", "--checkpoints", str(chain / "store"),
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
    code = main(["analyse", *map(str, images), "--csv", "--checkpoints", str(chain / "store"), "--device", "cpu"])
    assert code == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 4 and lines[1].startswith(images[0].name)
