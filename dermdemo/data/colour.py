"""Any pixel mode a decoder may hand over, turned into 8-bit sRGB."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

from dermdemo.errors import ImageError

_ICC_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
_PLAIN = {"P": "RGB", "PA": "RGBA", "1": "L", "YCbCr": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA"}


def unpalette(image: Image.Image) -> Image.Image:
    """Modes that cannot be averaged, and colours named transparent (PNG tRNS), spelled out."""
    if image.mode in ("P", "PA", "L", "RGB", "1") and "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert(_PLAIN[image.mode]) if image.mode in _PLAIN else image


def to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float grey as 8-bit grey; other modes as they are.

    White is the end of the range that the values use: 1 (float only), 255, 4095, 65 535, else the maximum;
    black is 0. Raises: ImageError ``corrupt`` if a value is not finite.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.array(image, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ImageError("the image has pixels without a value. Save it as 8-bit PNG.", reason="corrupt")
    top = float(values.max())
    levels = (1.0, 255.0, 4095.0, 65535.0) if image.mode == "F" else (255.0, 4095.0, 65535.0)
    white = next((level for level in levels if top <= level), top)
    return Image.fromarray((np.clip(values / white, 0, 1) * 255).round().astype(np.uint8))


def to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """RGB on white, colours by the ICC profile (bytes) where it is sound and fits the mode."""
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    if alpha is not None:
        image = image.convert("RGB" if image.mode == "RGBA" else "L")
    if image.mode == "LAB":
        image = _transform(image, _profile("LAB"))
    elif isinstance(profile, bytes) and profile:
        image = _apply_profile(image, profile)
    image = image.convert("RGB")
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
    return image


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """`image` in sRGB, or as it is if the profile is broken or meant for another colour space."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _ICC_SPACES.get(image.mode):
            return image
        return _transform(image, source)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image


def _transform(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    result = ImageCms.profileToProfile(image, source, _profile("sRGB"), outputMode="RGB")
    return result or image


def _profile(space: Literal["LAB", "sRGB"]) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space))
