"""Device, precision, seeds and threads: the one place that decides them."""

from __future__ import annotations

import hashlib
import random
from typing import Literal

import numpy as np
import torch

from dermdemo.config import DeviceName, Precision
from dermdemo.errors import ConfigError


def resolve_device(name: DeviceName) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: CUDA was asked for and is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("No CUDA device is visible: use --device cpu or --device auto.")
    return torch.device(name)


def cpu_has_fast_bf16() -> bool:
    """True where bf16 is faster than fp32 on the CPU (AMX tiles or AVX512-BF16)."""
    probe = getattr(torch.cpu, "get_capabilities", None)
    if probe is not None:
        caps = probe()
        return bool(caps.get("amx_bf16") or caps.get("avx512_bf16"))
    checks = (getattr(torch.cpu, "_is_amx_tile_supported", None),
              getattr(torch.cpu, "_is_avx512_bf16_supported", None))
    return any(check is not None and check() for check in checks)


def resolve_precision(name: Precision, device: torch.device) -> Literal["32-true", "bf16-mixed"]:
    """Fabric's precision flag; `auto` takes bf16 only where the hardware makes it faster."""
    if name == "auto":
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_has_fast_bf16()
        return "bf16-mixed" if fast else "32-true"
    return "bf16-mixed" if name == "bf16" else "32-true"


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch; call once per process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part and on nothing else (stable across processes)."""
    digest = hashlib.sha256("/".join(str(p) for p in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded by `derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(*parts))
