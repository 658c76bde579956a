"""On a machine with a GPU: one epoch of each stage and one analysis, held against the CPU.

Tolerances: fp32 validation terms agree within 0.1 % before training and 5 % after one epoch (other
kernels, other rounding); an analysis agrees within 0.002 in every probability.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dermdemo.config import DeviceName, FinetuneConfig, PretrainConfig
from dermdemo.data.synthetic import synthetic_lesion, write_synthetic
from dermdemo.training.events import read_events
from dermdemo.training.runs import RunRequest, run_pretrain, run_train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
ATTO = "convnext_atto"


def chain(root: Path, lesions: Path, device: DeviceName) -> Path:
    """One epoch of Stage I and of Stage II for both arms; returns the store."""
    def request(name: str) -> RunRequest:
        return RunRequest(source=str(lesions), out=root / name, store=root / "store")

    run_pretrain(request("vae"), PretrainConfig(encoder=ATTO, latent=8, schedule="64x1", batch_size=16,
                                                device=device, precision="fp32"))
    stage_two = FinetuneConfig(schedule="64x1", views=1, batch_size=16, device=device, precision="fp32")
    run_train(request("vae-arm"), stage_two, arm="vae", weights=None, encoder=ATTO)
    run_train(request("imagenet-arm"), stage_two, arm="imagenet", weights=str(root / "store" / "vae"), encoder=ATTO)
    return root / "store"


def losses(run: Path) -> list[float]:
    return [e["val"]["loss"] for e in read_events(run) if e["kind"] == "epoch"]


def test_training_agrees_with_the_cpu(tmp_path: Path) -> None:
    lesions = write_synthetic(tmp_path / "lesions", n_lesions=70, seed=2)
    for device in ("cpu", "cuda"):
        chain(tmp_path / device, lesions, device)  # type: ignore[arg-type]
    for run in ("vae", "vae-arm", "imagenet-arm"):
        cpu, cuda = losses(tmp_path / "cpu" / run), losses(tmp_path / "cuda" / run)
        if run == "vae":
            assert cuda[0] == pytest.approx(cpu[0], rel=1e-3)
        assert cuda[1] == pytest.approx(cpu[1], rel=0.05)


def test_analysis_agrees_with_the_cpu(tmp_path: Path) -> None:
    from dermdemo.analysis.analyser import Analyser

    store = chain(tmp_path, write_synthetic(tmp_path / "lesions", n_lesions=70, seed=2), "cpu")
    image = synthetic_lesion("mel", 5)
    results: dict[str, Any] = {d: Analyser(store, device=d).analyse(image) for d in ("cpu", "cuda")}  # type: ignore[arg-type]
    for arm, prediction in results["cpu"].arms.items():
        for key, value in prediction.probabilities.items():
            assert results["cuda"].arms[arm].probabilities[key] == pytest.approx(value, abs=2e-3)
    np.testing.assert_allclose(results["cuda"].mu, results["cpu"].mu, atol=1e-2)
