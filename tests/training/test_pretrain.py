"""Stage I: what the task computes in, and what it reports."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from dermdemo.config import PretrainConfig
from dermdemo.data.readable import prepare
from dermdemo.data.synthetic import write_synthetic
from dermdemo.models.checkpoint import load_meta
from dermdemo.models.vae import Posterior
from dermdemo.training.loop import make_fabric
from dermdemo.training.pretrain import PretrainTask
from dermdemo.training.runs import RunRequest, run_pretrain


@pytest.mark.parametrize("precision, dtype", [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_steps_and_validation_run_in_the_precision_that_was_asked_for(tmp_path: Path, precision: str,
                                                                      dtype: torch.dtype) -> None:
    config = PretrainConfig(encoder="convnext_atto", latent=8, batch_size=16, schedule="32x1", device="cpu",
                            precision=precision)  # type: ignore[arg-type]
    table, split = prepare(str(write_synthetic(tmp_path, n_lesions=40, seed=5)), split_seed=0)
    task = PretrainTask(config, table, split, make_fabric(config))
    model = task.fabric.setup_module(task.module)
    for method in task.forward_methods:
        model.mark_forward_method(method)
    task.start_phase(32)
    seen: list[torch.dtype] = []
    convolutions = [m for m in task.module.modules() if isinstance(m, torch.nn.Conv2d)]
    convolutions[-1].register_forward_hook(lambda layer, given, out: seen.append(out.dtype))
    loss, _ = task.training_loss(model, next(iter(task.batches(1))), epoch=1, step=0, progress=0.0)
    assert set(seen) == {dtype}
    assert loss.dtype == torch.float32
    seen.clear()
    record = task.validate(model.eval(), 1)
    assert set(seen) == {dtype}
    assert all(math.isfinite(record[name]) for name in ("loss", "rec", "kl", "mse", "psnr", "ssim"))


@pytest.mark.parametrize("hidden", [{"mask": 0.5}, {"blur": 0.1}])
def test_what_is_hidden_is_hidden_from_the_encoder_only(tmp_path: Path, hidden: dict[str, float]) -> None:
    """The loss of a model that gives back what it was given is the distance of that from the whole image."""
    lesions = str(write_synthetic(tmp_path, n_lesions=40, seed=5))
    table, split = prepare(lesions, split_seed=0)
    errors = []
    for change in ({}, hidden):
        config = PretrainConfig(encoder="convnext_atto", latent=8, batch_size=16, schedule="32x1", device="cpu",
                                precision="fp32", **change)  # type: ignore[arg-type]
        task = PretrainTask(config, table, split, make_fabric(config))
        task.start_phase(32)
        q = Posterior(torch.zeros(16, 8), torch.zeros(16, 8))
        _, logs = task.training_loss(lambda x, noise: (x, q), torch.arange(16), epoch=1, step=0, progress=0.0)  # noqa: B023
        errors.append(float(logs["mse"]))
    assert errors[0] == 0 and errors[1] > 1e-4


def test_a_denoising_vae_says_so_in_its_checkpoint(tmp_path: Path) -> None:
    lesions = str(write_synthetic(tmp_path / "lesions", n_lesions=40, seed=5))
    config = PretrainConfig(encoder="convnext_atto", latent=8, batch_size=16, schedule="32x1", device="cpu", mask=0.5)
    meta = load_meta(run_pretrain(RunRequest(source=lesions, out=tmp_path / "run", store=tmp_path / "store"), config))
    assert "as a denoising VAE (50% of each image's squares hidden)" in meta.origin_text
    assert meta.config["mask"] == 0.5
