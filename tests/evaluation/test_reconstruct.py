"""How well a VAE reconstructs: figures against brute force, the pixel baseline, its own data only, and the card."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dermdemo.__main__ import main
from dermdemo.config import PretrainConfig
from dermdemo.data.synthetic import write_synthetic
from dermdemo.errors import CheckpointError, DataError
from dermdemo.evaluation import reconstruct as module
from dermdemo.evaluation.reconstruct import as_text, identified, mean_intervals, reconstruct
from dermdemo.models.card import CARD_FILE, render_card
from dermdemo.models.checkpoint import load_meta
from dermdemo.models.stored_figures import read_reconstruction
from dermdemo.training.runs import RunRequest, run_pretrain


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("reconstruct"), n_lesions=140, seed=3)


@pytest.fixture(scope="module")
def trained(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stage-one")
    config = PretrainConfig(encoder="convnext_atto", latent=8, batch_size=16, schedule="32x1", device="cpu",
                            layer_scale=0.1)
    return run_pretrain(RunRequest(source=str(lesions), out=root / "vae", store=root / "store"), config)


@pytest.fixture
def vae(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change, with a state folder of its own."""
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "MIN_CANDIDATES", 2)
    return Path(shutil.copytree(trained, tmp_path / "store" / trained.name))


def test_a_split_is_reconstructed_beside_the_pixel_baseline(vae: Path, lesions: Path) -> None:
    report = reconstruct(vae, str(lesions), split_name="val", device="cpu", n_resamples=200)
    assert (report.size, report.latent, report.components, report.readings) == (32, 8, 8, 0)
    for name in ("psnr", "ssim"):
        ours, theirs, between = (getattr(f, name) for f in (report.vae, report.pca, report.difference))
        for interval in (ours, theirs, between):
            assert interval.low <= interval.estimate <= interval.high
        assert between.estimate == pytest.approx(ours.estimate - theirs.estimate)
    assert report.pca.psnr.estimate > report.vae.psnr.estimate  # after one epoch of 80 images
    assert report.kl > 0 and 0 <= report.active_units <= 8
    assert report.identification
    for found in report.identification:
        assert 2 <= found.n <= module.CANDIDATES and 0 <= found.vae <= 1 and found.pca > 1 / found.n
    assert str(report.n_lesions) in as_text(report) and "VAE minus PCA" in as_text(report)
    said = "were fitted to these images"
    assert said not in as_text(report) and said in as_text(replace(report, split="train"))


def test_pca_is_fitted_to_fewer_images_where_all_are_too_many(vae: Path, lesions: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FIT_VALUES", 5 * 3 * 32 * 32)
    report = reconstruct(vae, str(lesions), split_name="val", device="cpu", n_resamples=20)
    assert (report.fitted, report.components) == (5, 4)


def test_readings_of_test_are_counted_and_stored_with_the_figures(vae: Path, lesions: Path,
                                                                  capsys: pytest.CaptureFixture[str],
                                                                  tmp_path: Path) -> None:
    before = load_meta(vae)
    arguments = ["evaluate", str(vae), str(lesions), "--device", "cpu", "--resamples", "20", "--json"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert read_reconstruction(load_meta(vae)) is None
    assert main([*arguments, "--save"]) == 0
    captured = capsys.readouterr()
    assert "this machine so far: 2" in captured.err
    written = json.loads((tmp_path / "out" / "test_reconstruction.json").read_text())
    after = load_meta(vae)
    stored = read_reconstruction(after)
    assert stored is not None and after.sha256 == before.sha256
    assert (stored.readings, stored.split) == (2, "test")
    assert stored.vae["psnr"].estimate == written["vae"]["psnr"]["estimate"]  # the same again, from the same seed
    card = (vae / CARD_FILE).read_text()
    assert f"{stored.vae['psnr']}" in card and f"{stored.pca['ssim']}" in card and "read 2 times" in card
    assert "does not beat PCA of the pixels in PSNR" in card


def test_the_card_says_who_wins(vae: Path, lesions: Path) -> None:
    assert main(["evaluate", str(vae), str(lesions), "--device", "cpu", "--resamples", "20", "--save"]) == 0
    meta = load_meta(vae)
    stored = meta.metrics["reconstruction"]
    won = {name: {"estimate": 0.5, "low": 0.4, "high": 0.6} for name in ("psnr", "ssim")}
    better = dataclasses.replace(meta, metrics={"reconstruction": {**stored, "difference": won}, "training": {}})
    assert "It beats PCA of the pixels in PSNR and SSIM." in render_card(better)


def test_other_data_are_refused(vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_synthetic(tmp_path / "other", n_lesions=30, seed=4)
    with pytest.raises(DataError, match="does not split as the data"):
        reconstruct(vae, str(other), device="cpu")
    assert main(["evaluate", str(vae), str(other), "--external"]) == 1
    assert "its own data" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()  # nothing was read


def test_malformed_figures_are_named(vae: Path) -> None:
    meta = dataclasses.replace(load_meta(vae), metrics={"reconstruction": {"split": "test"}})
    with pytest.raises(CheckpointError, match="reconstruction figures"):
        read_reconstruction(meta)


def test_identification_counts_the_nearest() -> None:
    originals = np.array([[0], [100], [200]], np.uint8)
    assert identified(originals, np.array([[10], [90], [255]], np.uint8)) == 1
    assert identified(originals, np.array([[10], [10], [255]], np.uint8)) == pytest.approx(2 / 3)
    assert identified(originals, originals[::-1]) == pytest.approx(1 / 3)


def test_intervals_of_means_draw_whole_groups() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(200), 3)
    lesion = rng.normal(5, 2, 200)[group]  # three images alike: the interval is that of 200, not of 600
    found = mean_intervals(np.stack([lesion, rng.normal(0, 1, 600)]), group.astype(str), n_resamples=4000)
    for interval, spread in zip(found, (2 / np.sqrt(200), 1 / np.sqrt(600)), strict=True):
        assert interval.low is not None and interval.high is not None and interval.estimate is not None
        assert interval.high - interval.low == pytest.approx(2 * 1.96 * spread, rel=0.15)
        assert interval.low < interval.estimate < interval.high
    alone = mean_intervals(np.ones((1, 4)), np.array(["a"] * 4))[0]
    assert (alone.estimate, alone.low, alone.high) == (1, None, None) and alone.note
