"""The smallest models of the package, and checkpoints of them, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dermdemo.models.checkpoint import (
    CheckpointMeta,
    classifier_parts,
    encoder_parts,
    save_checkpoint,
    storable,
    vae_parts,
)
from dermdemo.models.classifier import Classifier
from dermdemo.models.encoder import Encoder
from dermdemo.models.vae import VAE
from dermdemo.types import InputSpec

ATTO = "convnext_atto"
CLASSES = ("bcc", "mel", "nv")


def images(n: int = 2, size: int = 32, *, seed: int = 0) -> Tensor:
    """Smooth colourful squares, (N, 3, size, size) in [0, 1]."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand((n, 3, 4, 4), generator=g)
    return nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)


def colours(size: int = 32) -> Tensor:
    """A red, a green and a blue square, (3, 3, size, size); the best constant answer has an MSE of 0.142."""
    return (0.1 + 0.8 * torch.eye(3))[:, :, None, None].expand(3, 3, size, size).contiguous()


def encoder(*, seed: int = 0, layer_scale: float = 0.1, **options: Any) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(ATTO, layer_scale=layer_scale, **options)


def vae(*, seed: int = 0, latent: int = 6, size: int = 32, ae: bool = False) -> VAE:
    start = encoder(seed=seed)
    return VAE(start, latent=latent, size=size, ae=ae)


def classifier(start: Encoder | None = None, *, seed: int = 0, unfrozen: int = 1, **options: Any) -> Classifier:
    start = start or encoder(seed=seed)
    return Classifier(start, len(CLASSES), hidden=16, unfrozen=unfrozen, **options)


def meta(kind: str, **changes: Any) -> CheckpointMeta:
    """Metadata with every required field; `name` and `files` are set on saving."""
    values: dict[str, Any] = {
        "kind": kind, "name": "", "encoder": ATTO, "input": InputSpec(size=32), "origin": "test:random",
        "origin_text": "random, for a test", "licence": "none",
    }  # fmt: skip
    if kind in ("vae", "ae"):
        values["latent"] = 6
    if kind == "classifier":
        values |= {"classes": CLASSES, "hidden": 16, "unfrozen_stages": 1, "head_trained": True, "arm": "vae"}
    return CheckpointMeta(**(values | changes))


def save_vae(folder: Path, model: VAE | None = None) -> VAE:
    model = model or vae()
    save_checkpoint(folder, meta("ae" if model.ae else "vae", latent=model.latent), vae_parts(model))
    return model


def save_encoder(folder: Path, model: Encoder | None = None, kind: str = "encoder") -> Encoder:
    model = model or encoder()
    save_checkpoint(folder, meta(kind), encoder_parts(model))
    return model


def save_classifier(folder: Path, model: Classifier, base: Path | None = None, **changes: Any) -> CheckpointMeta:
    parts, borrowed = classifier_parts(model, base)
    values = {"unfrozen_stages": model.unfrozen, "base": borrowed} | changes
    return save_checkpoint(folder, meta("classifier", **values), parts)


def as_stored(model: nn.Module) -> nn.Module:
    """The model with its weights rounded as a checkpoint stores them, in eval mode."""
    rounded = {k: v.float() if v.is_floating_point() else v for k, v in storable(model.state_dict()).items()}
    model.load_state_dict(rounded)
    return model.eval()


def overfit(model: nn.Module, loss: Any, *, steps: int, lr: float) -> tuple[float, float]:
    """Loss before the first and after the last of `steps` AdamW steps on the same batch."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.0)
    first = float(loss().detach())
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return first, float(loss().detach())


def without_gradient(model: nn.Module) -> list[str]:
    """Names of parameters whose gradient is missing, not finite, or zero everywhere."""
    bad = []
    for name, p in model.named_parameters():
        if p.grad is None or not bool(torch.isfinite(p.grad).all()) or not bool(p.grad.any()):
            bad.append(name)
    return bad
