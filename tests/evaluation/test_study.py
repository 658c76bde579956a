"""The comparison of two runs: end to end from their directories, and every reason not to pair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermdemo.config import FinetuneConfig
from dermdemo.diagnoses import HAM10000_CLASSES
from dermdemo.errors import ConfigError, DataError
from dermdemo.evaluation.history import load_history, load_predictions
from dermdemo.evaluation.study import compare_predictions, compare_runs, differing_settings
from dermdemo.evaluation.study_figure import curves_figure, save_curves


def write_arm(folder: Path, *, speed: float, drift: float, epochs: int = 12, balanced: float = 0.4,
              **config: Any) -> Path:
    """A run whose losses fall at `speed` and whose validation loss rises by `drift` per epoch."""
    folder.mkdir()
    settings = {"classes": list(HAM10000_CLASSES), "head": {"lr": 0.001}, "encoder": folder.name, **config}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    lines = []
    for e in range(epochs + 1):
        loss = 2 * float(np.exp(-speed * e)) + 0.2
        train = {"loss": loss, "accuracy": 1 - loss / 2.5, "balanced_accuracy": 0.5}
        val = {"loss": loss + drift * e, "accuracy": 1 - (loss + drift * e) / 2.5, "balanced_accuracy": balanced}
        lines.append(json.dumps({"kind": "epoch", "epoch": e, "train": train, "val": val, "lr": 1e-3}))
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_predictions(run: Path, d: Any, split: str = "test", **change: np.ndarray) -> None:
    ids = np.array([f"I{i:03d}" for i in range(len(d.y))])
    arrays = {"y": d.y, "logits": d.logits.astype(np.float32), "groups": d.groups, "image_id": ids, **change}
    np.savez(run / f"{split}_predictions.npz", **arrays)


@pytest.fixture
def runs(tmp_path):
    vae = write_arm(tmp_path / "vae", speed=0.15, drift=0.0)
    return vae, write_arm(tmp_path / "imagenet", speed=0.4, drift=0.06)


def test_the_table_from_histories_alone(runs):
    t = compare_runs(*runs)
    vae, imagenet = t.arms
    assert (vae.name, imagenet.name) == ("vae", "imagenet")
    assert vae.last.loss_gap == pytest.approx(0)
    assert imagenet.last.loss_gap == pytest.approx(0.72)
    assert [s.kind for s in imagenet.signatures] == ["overfitting"]
    assert t.paired is None
    assert any("no stored predictions" in n for n in t.notes)
    assert t.differing_settings == ("encoder: vae | imagenet",)


def test_gaps_are_matched_at_the_lower_final_training_accuracy(runs):
    t = compare_runs(*runs)
    lower = min(a.last.train_accuracy for a in t.arms)
    assert [m.target for m in t.matched] == [lower, lower]
    assert [m.point.train_accuracy for m in t.matched] == pytest.approx([lower, lower])
    assert t.matched[0].point.epoch == 12
    assert 0 < t.matched[1].point.epoch < 12


def test_text_and_json_show_ours_beside_the_papers(runs):
    t = compare_runs(*runs)
    text = t.to_text()
    for expected in (
        "paper: VAE",
        "paper: ImageNet",
        "-33.33 %",
        "+19.05 %",
        "near zero",
        "rising to +0.060",
    ):
        assert expected in text
    assert "Overfitting" in text
    assert "arXiv 2505.16773" in text
    data = json.loads(json.dumps(t.to_dict(), allow_nan=False))
    assert data["paper"][1]["train_accuracy"] == {"initial": 0.58, "final": 0.87, "change_pct": 50.0}
    assert data["arms"][0]["name"] == "vae"


def test_paired_differences_whatever_the_order_of_rows(runs, make_scored):
    good, weak = make_scored(150, 7, signal=3), make_scored(150, 7, signal=1)
    order = np.random.default_rng(0).permutation(150)
    write_predictions(runs[0], weak)
    ids = np.array([f"I{i:03d}" for i in order])
    write_predictions(
        runs[1], good, y=good.y[order], logits=good.logits[order], groups=good.groups[order], image_id=ids
    )
    paired = compare_runs(*runs, n_resamples=100).paired
    assert (paired.split, paired.n_images, paired.n_lesions) == ("test", 150, len(set(good.groups)))
    d = paired.differences["accuracy"]
    weak_right = (weak.probs.argmax(axis=1) == weak.y).mean()
    good_right = (good.probs.argmax(axis=1) == good.y).mean()
    assert d.estimate == pytest.approx(weak_right - good_right)
    assert d.high < 0
    assert d.share_above_zero == 0
    assert paired.mcnemar.only_b > paired.mcnemar.only_a
    assert {"sensitivity:mel", "malignant_auc"} <= set(paired.differences)
    assert "McNemar" in compare_runs(*runs, n_resamples=20).to_text()


def test_validation_predictions_serve_where_test_ones_are_missing(runs, make_scored):
    d = make_scored(60, 7)
    write_predictions(runs[0], d, "val")
    write_predictions(runs[1], d, "val")
    write_predictions(runs[1], d, "test")
    t = compare_runs(*runs, n_resamples=10)
    assert t.paired.split == "val"
    assert t.paired.differences["nll"].estimate == 0


def test_a_constant_predictor_is_found_from_stored_validation_labels(tmp_path, make_scored):
    """Flat losses and a validation accuracy of 0.12, which is also the share of the largest class."""
    run = write_arm(tmp_path / "flat", speed=0.0, drift=0.0, balanced=1 / 9)
    varied = write_arm(tmp_path / "varied", speed=0.0, drift=0.0)
    other = write_arm(tmp_path / "other", speed=0.2, drift=0.0)
    y = np.arange(50) % 9  # 6 of 50 images in each of the first five classes
    for each in (run, varied):
        write_predictions(each, make_scored(50, 9), "val", y=y)
    t = compare_runs(run, other, classes=tuple("abcdefghi"))
    assert [s.kind for s in t.arms[0].signatures] == ["constant", "underfitting"]
    assert "constant" not in [s.kind for s in t.arms[1].signatures]
    assert [s.kind for s in compare_runs(varied, other).arms[0].signatures] == ["underfitting"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": np.array([f"J{i:03d}" for i in range(40)])}, "only 0 of the test images"),
        ({"y": np.zeros(40, dtype=int)}, "do not agree on the classes"),
        ({"logits": np.zeros((40, 9))}, "do not agree on the classes"),
        ({"groups": np.array([f"G{i}" for i in range(40)])}, "do not agree on which images"),
    ],
)
def test_reasons_not_to_pair(runs, make_scored, change, message):
    d = make_scored(40, 7)
    write_predictions(runs[0], d)
    write_predictions(runs[1], d, **change)
    t = compare_runs(*runs)
    assert t.paired is None
    assert any(message in n for n in t.notes)


def test_predictions_of_other_images_or_classes_are_refused(runs, make_scored):
    write_predictions(runs[0], make_scored(40, 7, seed=1))
    write_predictions(runs[1], make_scored(40, 7, seed=2))
    a, b = (load_predictions(r, "test") for r in runs)
    with pytest.raises(DataError, match="same images"):
        compare_predictions(a, b)
    with pytest.raises(DataError, match="2 class names"):
        compare_predictions(a, a, ("x", "y"))
    assert set(compare_predictions(a, a, n_resamples=5).differences) >= {"macro_auc", "ece"}


def test_unequal_epochs_and_names_are_told(tmp_path):
    a = write_arm(tmp_path / "run", speed=0.2, drift=0.0, epochs=8)
    (tmp_path / "again").mkdir()
    b = write_arm(tmp_path / "again" / "run", speed=0.2, drift=0.0, epochs=6)
    t = compare_runs(a, b)
    assert [x.name for x in t.arms] == ["A:run", "B:run"]
    assert any("different epochs (0 to 8 and 0 to 6)" in n for n in t.notes)


def test_differing_settings_are_flat_and_leave_names_out():
    a = {"name": "a", "head": {"lr": 1, "width": 2}, "seed": 0}
    b = {"name": "b", "head": {"lr": 3, "width": 2}}
    assert differing_settings(a, b) == ("head.lr: 1 | 3", "seed: 0 | not set")
    assert differing_settings(a, a) == ()


def test_curves_are_saved_as_png_and_svg(runs, tmp_path):
    a, b = (load_history(r) for r in runs)
    assert len(curves_figure(a, b).axes) == 4
    assert save_curves(a, b, tmp_path / "new" / "c.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in save_curves(a, b, tmp_path / "c.svg").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match=r"not as \.pdf"):
        save_curves(a, b, tmp_path / "c.pdf")


def test_a_setting_that_an_older_version_did_not_have_had_its_default():
    new = {"stage": "train", "config": FinetuneConfig(seed=3).to_dict()}
    old = {"stage": "train", "config": {k: v for k, v in new["config"].items() if k != "restart"}}
    assert differing_settings(new, old) == ()
    new["config"]["restart"] = 0.5
    assert differing_settings(new, old) == ("config.restart: 0.5 | 0.0",)
    assert differing_settings({**new, "stage": "other"}, {**old, "stage": "other"}) == (
        "config.restart: 0.5 | not set",)
