"""Evaluating a stored model: its own split only, other data said to be other, readings of test counted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dermdemo.config import FinetuneConfig
from dermdemo.data.synthetic import write_synthetic
from dermdemo.errors import DataError
from dermdemo.evaluation.assess import assess, store_test
from dermdemo.models.checkpoint import load_meta
from dermdemo.models.stored_figures import read_baseline, read_test
from dermdemo.training.runs import RunRequest, run_train


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("assess"), n_lesions=80, seed=11)


@pytest.fixture(scope="module")
def trained(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("assess-run")
    config = FinetuneConfig(schedule="32x1", views=1, batch_size=32, device="cpu")
    request = RunRequest(source=str(lesions), out=root / "random-arm", store=root / "store")
    return run_train(request, config, arm="random", weights=None, encoder="convnext_atto")


@pytest.fixture
def checkpoint(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change, with a state folder of its own."""
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path / "home"))
    return Path(shutil.copytree(trained, tmp_path / "store" / trained.name))


def test_test_split_is_scored_and_its_readings_are_counted(checkpoint: Path, lesions: Path) -> None:
    first = assess(checkpoint, str(lesions), device="cpu", n_resamples=50)
    again = assess(checkpoint, str(lesions), device="cpu", n_resamples=50)
    assert (first.readings, again.readings) == (1, 2)
    assert assess(checkpoint, str(lesions), split_name="val", device="cpu", n_resamples=50).readings == 0
    assert first.report.metrics == again.report.metrics
    assert first.report.n_images == len(first.predictions.y)


def test_thresholds_are_those_stored_with_the_model(checkpoint: Path, lesions: Path) -> None:
    report = assess(checkpoint, str(lesions), device="cpu", n_resamples=50).report
    stored = [t["value"] for t in load_meta(checkpoint).thresholds.values()]
    assert [p.threshold.value for p in report.operating_points] == stored


def test_another_source_is_refused_unless_it_is_called_external(checkpoint: Path, tmp_path: Path) -> None:
    other = write_synthetic(tmp_path / "other", n_lesions=70, seed=99)
    with pytest.raises(DataError, match="may hold training lesions"):
        assess(checkpoint, str(other), device="cpu", n_resamples=50)
    report = assess(checkpoint, str(other), device="cpu", external=True, n_resamples=50).report
    assert report.identity.split == "all"


def test_a_source_of_two_classes_is_scored_on_those(checkpoint: Path, tmp_path: Path) -> None:
    everything = write_synthetic(tmp_path / "folders", n_lesions=70, seed=98, layout="folders")
    for folder in everything.iterdir():
        if folder.is_dir() and folder.name not in ("mel", "nv"):
            shutil.rmtree(folder)
    report = assess(checkpoint, str(everything), device="cpu", external=True, n_resamples=50).report
    assert set(report.metrics.absent_classes) == {"akiec", "bcc", "bkl", "df", "vasc"}
    assert any("akiec" in note for note in report.notes)


def test_labels_the_model_does_not_know_are_an_error(checkpoint: Path, tmp_path: Path) -> None:
    everything = write_synthetic(tmp_path / "odd", n_lesions=70, seed=97, layout="folders")
    (everything / "mel").rename(everything / "wart")
    with pytest.raises(DataError, match="wart"):
        assess(checkpoint, str(everything), device="cpu", external=True, n_resamples=50)


def test_stored_test_figures_and_baseline_reach_the_card(checkpoint: Path, lesions: Path) -> None:
    result = assess(checkpoint, str(lesions), device="cpu", n_resamples=50)
    store_test(checkpoint, str(lesions), result)
    meta = load_meta(checkpoint)
    figure = meta.metrics["test"]["figures"]["balanced_accuracy"]
    assert figure["estimate"] == result.report.intervals["balanced_accuracy"].estimate
    assert 0 <= meta.metrics["baseline"]["balanced_accuracy"] <= 1
    card = (checkpoint / "MODEL_CARD.md").read_text()
    beaten = figure["estimate"] > meta.metrics["baseline"]["balanced_accuracy"]
    assert ("does not beat the pixel baseline in balanced accuracy" in card) != beaten


def test_stored_figures_are_those_of_the_report_and_can_be_read_back(checkpoint: Path, lesions: Path) -> None:
    result = assess(checkpoint, str(lesions), device="cpu", n_resamples=50)
    store_test(checkpoint, str(lesions), result)
    meta, metrics = load_meta(checkpoint), result.report.metrics
    test = read_test(meta)
    assert test is not None
    assert (test.n_images, test.n_lesions, test.readings) == (metrics.n_images, metrics.n_lesions, result.readings)
    assert test.confusion == metrics.confusion
    assert [c.name for c in test.per_class] == list(metrics.classes)
    assert [c.sensitivity.estimate for c in test.per_class] == [c.sensitivity for c in metrics.per_class]
    assert [p.target_specificity for p in test.operating_points] == [0.80, 0.95]
    assert test.figures["classwise_ece"].estimate == metrics.classwise_ece
    assert sum(p.n_images for p in test.reliability) == test.n_images
    assert metrics.malignancy is not None
    assert (test.n_malignant, test.n_benign) == (metrics.malignancy.n_malignant, metrics.malignancy.n_benign)
    baseline = read_baseline(meta)
    assert baseline is not None and "PCA" in baseline.description
    card = (checkpoint / "MODEL_CARD.md").read_text()
    assert f"| Melanoma | {metrics.per_class[metrics.classes.index('mel')].n_images} |" in card
    assert "specificity asked for" in card
