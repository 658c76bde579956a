"""Linear probes: what they find where it was planted, what they refuse, and that test is never read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dermdemo.__main__ import main
from dermdemo.config import PretrainConfig, SupervisedConfig
from dermdemo.data.readable import prepare
from dermdemo.data.splits import Split
from dermdemo.data.synthetic import write_synthetic
from dermdemo.errors import CheckpointError, DataError
from dermdemo.evaluation import probe as module
from dermdemo.evaluation.probe import as_text, effective_rank, network, probe
from dermdemo.models.checkpoint import trim
from dermdemo.models.encoder import Encoder
from dermdemo.training.runs import RunRequest, run_pretrain, run_supervised

ATTO = "convnext_atto"


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("lesions"), n_lesions=210, seed=5)


@pytest.fixture(scope="module")
def vae(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stage-one")
    config = PretrainConfig(encoder=ATTO, latent=8, batch_size=16, schedule="32x1", device="cpu", layer_scale=0.1)
    return run_pretrain(RunRequest(source=str(lesions), out=root / "vae", store=root / "store"), config)


def test_a_vae_is_probed_stage_by_stage_and_at_mu(lesions: Path, vae: Path, capsys: pytest.CaptureFixture[str]
                                                  ) -> None:
    assert main(["probe", str(vae), str(lesions), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["size"], report["split"]) == (32, "val")
    found = {p["features"]: p["dims"] for p in report["probes"]}
    width = Encoder(ATTO).width
    assert list(found) == ["stage 1", "stage 2", "stage 3", "stage 4", "pooled", "mu", "pixels (PCA)"]
    assert found["mu"] == 8 and found["pooled"] == found["stage 4"] == width
    assert report["probes"][-1]["effective_rank"] is None  # pixels
    for p in report["probes"][:-1]:
        assert 1 <= p["effective_rank"] <= p["dims"]
    for p in report["probes"]:
        for figure in (p["balanced_accuracy"], p["macro_auc"]):
            assert 0 <= figure["low"] <= figure["estimate"] <= figure["high"] <= 1


def test_a_trimmed_encoder_is_probed_up_to_its_last_stored_stage(lesions: Path, tmp_path: Path) -> None:
    config = SupervisedConfig(encoder=ATTO, batch_size=16, schedule="32x1", device="cpu", layer_scale=0.1)
    stored = run_supervised(RunRequest(source=str(lesions), out=tmp_path / "run", store=tmp_path / "store"), config)
    table, split = prepare(str(lesions), split_seed=0)
    whole, _, size = network(str(stored), ATTO, layer_scale=1)
    before = probe(whole, table, split, size=size, origin="whole", resamples=20)
    trim(stored)
    trunk, origin, size = network(str(stored), ATTO, layer_scale=1)
    after = probe(trunk, table, split, size=size, origin=origin, resamples=20)
    assert origin.endswith("; trunk only") and size == 32
    assert [p.features for p in after.probes] == ["stage 1", "stage 2", "stage 3", "pixels (PCA)"]
    assert after.probes[:3] == before.probes[:3]


def test_a_probe_finds_what_was_planted_and_nothing_in_noise(lesions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, split = prepare(str(lesions), split_seed=0)
    labels = np.array(table.labels())

    def planted(net: object, table: object, rows: list[int], size: int, device: str) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(len(rows))
        return {"planted": np.eye(7)[labels[rows]] + rng.normal(0, 0.01, (len(rows), 7)),
                "noise": rng.normal(0, 1, (len(rows), 7))}

    monkeypatch.setattr(module, "_features", planted)
    told, noise, _ = probe(Encoder(ATTO), table, split, size=32, origin="test", resamples=50).probes
    assert told.strength in module.STRENGTHS
    assert told.balanced_accuracy.estimate == 1.0 and told.macro_auc.estimate == 1.0
    assert noise.macro_auc.estimate is not None and noise.macro_auc.estimate < 0.8


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_the_effective_rank_counts_directions_whatever_their_scale_and_offset(rank: int) -> None:
    rng = np.random.default_rng(rank)
    scores = np.linalg.qr(rng.normal(size=(400, rank)))[0]
    scores = np.linalg.qr(scores - scores.mean(0))[0]  # centred, independent, of one length
    axes = np.linalg.qr(rng.normal(size=(rank, rank)))[0]
    x = np.tile(scores @ axes, (1, 2))
    found = effective_rank(x * rng.uniform(0.01, 100, 2 * rank) + rng.normal(size=2 * rank))
    assert found == pytest.approx(rank, rel=1e-3)
    assert effective_rank(np.hstack([x, np.full((400, 2), 7.0)])) == pytest.approx(rank, rel=1e-3)


def test_features_that_never_change_fill_no_direction() -> None:
    assert effective_rank(np.full((50, 4), 0.1, np.float32)) == 0.0


def test_only_train_and_the_scored_split_are_read(lesions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, split = prepare(str(lesions), split_seed=0)
    seen: set[int] = set()
    whole = module._features
    monkeypatch.setattr(module, "_features", lambda net, table, rows, *a: (seen.update(rows), whole(net, table, rows,
                                                                                                    *a))[1])
    probe(Encoder(ATTO), table, split, size=32, origin="test", on="calib", resamples=20)
    assert seen == set(split.rows("train")) | set(split.rows("calib"))


def test_the_same_probe_twice_gives_the_same_figures(lesions: Path) -> None:
    table, split = prepare(str(lesions), split_seed=0)
    first, second = (probe(network("random", ATTO, layer_scale=1.0)[0], table, split, size=32, origin="x",
                           resamples=20) for _ in range(2))
    assert first == second
    assert as_text(first) == as_text(second) and "stage 3" in as_text(first)


def test_stage_four_is_what_the_head_gets_before_its_norm() -> None:
    net = Encoder(ATTO, layer_scale=1.0).eval()
    x = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = dict(module._representations(net, x))
        assert torch.allclose(found["pooled"], net(x), atol=1e-6)
        assert torch.allclose(found["stage 3"], net.trunk(x).mean((2, 3)), atol=1e-6)


def test_nothing_to_probe_is_said(lesions: Path) -> None:
    table, split = prepare(str(lesions), split_seed=0)
    with pytest.raises(CheckpointError, match="There are no weights at"):
        network("nowhere", ATTO, layer_scale=1.0)
    empty = Split(**{**vars(split), "names": tuple("train" if n == "val" else n for n in split.names)})
    with pytest.raises(DataError, match="labelled images in val"):
        probe(Encoder(ATTO), table, empty, size=32, origin="test")
