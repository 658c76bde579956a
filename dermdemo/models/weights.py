"""Where an encoder's weights come from: timm's hub, a local file, a checkpoint of ours, or nowhere.

Local files may be in timm's or torchvision's ConvNeXt naming, as safetensors or as a torch file read
with `weights_only=True`. The origin is kept in words and shown with every model.
Weights of convnext_*.fb_in1k: Liu et al. 2022, Apache-2.0 (timm), trained on ImageNet-1k.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor

from dermdemo.errors import CheckpointError
from dermdemo.models.checkpoint import META_FILE, load_encoder, load_strict
from dermdemo.models.encoder import Encoder

HUB_TAG = "fb_in1k"


@dataclass(frozen=True)
class Origin:
    """Where weights came from: slug, words, and the folder they can be borrowed from (ours only)."""

    slug: str
    text: str
    base: Path | None = None
    classifier: Mapping[str, Tensor] | None = None


def encoder_from(weights: str, name: str = "convnext_tiny", *, layer_scale: float = 1e-6) -> tuple[Encoder, Origin]:
    """An encoder with weights from ``random``, ``timm``, a file, or a checkpoint folder of ours.

    Raises:
        CheckpointError: unreachable, unreadable, or weights of another network.
    """
    if weights == "random":
        text = f"random initialisation (layer scale {layer_scale:g}), never trained"
        return Encoder(name, layer_scale=layer_scale), Origin("random", text)
    if weights == "timm":
        return _from_hub(name)
    path = Path(weights)
    if path.is_dir() and (path / META_FILE).exists():
        encoder, meta = load_encoder(path)
        if meta.encoder != name:
            raise CheckpointError(f"'{path}' holds a {meta.encoder}; this run asks for a {name}.")
        return encoder, Origin(meta.origin, meta.origin_text, base=path)
    if path.is_file():
        return _from_file(path, name)
    raise CheckpointError(f"There are no weights at '{weights}': give 'timm', 'random', a weights file in timm's or "
                          "torchvision's format, or a checkpoint folder.")


def _from_hub(name: str) -> tuple[Encoder, Origin]:
    try:
        net = timm.create_model(f"{name}.{HUB_TAG}", pretrained=True)
    except Exception as error:  # huggingface_hub and urllib raise many unrelated types when offline
        raise CheckpointError(
            f"The weights {name}.{HUB_TAG} cannot be fetched from timm's hub ({type(error).__name__}). Without a "
            "connection: download them elsewhere and pass --weights FILE (timm's or torchvision's format), pass a "
            "checkpoint folder of this package, or make a stand-in with `python -m dermdemo pretrain-supervised`."
        ) from error
    encoder, classifier = _fill(net.state_dict(), name, f"timm:{name}.{HUB_TAG}")
    return encoder, Origin(f"timm:{name}.{HUB_TAG}", f"ImageNet-1k, timm {name}.{HUB_TAG} (Liu et al. 2022)",
                           classifier=classifier)


def read_weights_file(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors or torch file (weights only). Raises CheckpointError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on damaged bytes torch's unpickler raises IndexError, struct.error and more
        raise CheckpointError(f"'{path}' is not a file of plain weights (safetensors, or a torch file that loads "
                              "with weights_only).") from error
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(
            isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise CheckpointError(f"'{path}' holds no dictionary of tensors.")
    return state


def _from_file(path: Path, name: str) -> tuple[Encoder, Origin]:
    state = read_weights_file(path)
    torchvision = any(k.startswith("features.") for k in state)
    encoder, classifier = _fill(from_torchvision(state) if torchvision else state, name, str(path))
    layout = "torchvision" if torchvision else "timm"
    return encoder, Origin(f"file:{path.name}", f"local file {path.name} ({layout} format); its training data are "
                           "whatever that file was trained on", classifier=classifier)


def _fill(state: Mapping[str, Tensor], name: str, where: str) -> tuple[Encoder, dict[str, Tensor]]:
    """timm's names -> our encoder, and the classifier's weight and bias apart."""
    own: dict[str, Tensor] = {}
    classifier = {}
    for key, value in state.items():
        if key.startswith("head.fc."):
            classifier[key.removeprefix("head.fc.")] = value.float()
        elif key.startswith("head.norm."):
            own[key.removeprefix("head.")] = value.float()
        elif not key.startswith("head."):
            own[key] = value.float()
    encoder = Encoder(name)
    load_strict(encoder, own, where)
    return encoder.eval(), classifier


_BLOCK = {"block.0": "conv_dw", "block.2": "norm", "block.3": "mlp.fc1", "block.5": "mlp.fc2"}


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename torchvision's ConvNeXt tensors to timm's names."""
    return {_timm_name(k): v.flatten() if k.endswith("layer_scale") else v for k, v in state.items()}


def _timm_name(key: str) -> str:
    """One torchvision name -> timm name. Raises CheckpointError on an unknown one."""
    if match := re.fullmatch(r"features\.0\.([01])\.(weight|bias)", key):
        return f"stem.{match[1]}.{match[2]}"
    if match := re.fullmatch(r"features\.([246])\.([01])\.(weight|bias)", key):
        return f"stages.{int(match[1]) // 2}.downsample.{match[2]}.{match[3]}"
    if match := re.fullmatch(r"features\.([1357])\.(\d+)\.layer_scale", key):
        return f"stages.{int(match[1]) // 2}.blocks.{match[2]}.gamma"
    if match := re.fullmatch(r"features\.([1357])\.(\d+)\.(block\.[0235])\.(weight|bias)", key):
        return f"stages.{int(match[1]) // 2}.blocks.{match[2]}.{_BLOCK[match[3]]}.{match[4]}"
    if match := re.fullmatch(r"classifier\.([02])\.(weight|bias)", key):
        return f"head.{'norm' if match[1] == '0' else 'fc'}.{match[2]}"
    raise CheckpointError(f"The weight '{key}' belongs to no ConvNeXt of torchvision.")
