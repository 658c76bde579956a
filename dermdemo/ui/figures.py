"""Small figures: maps laid over images, bars, scales. Arrays and numbers in, PNG data URIs and HTML out.

Unusual here: pictures go to the page inside the HTML, as data URIs made from arrays. Nothing that shows
a visitor's image is written to a file or gets an address of its own, and no metadata can come along.
Both colour maps are perceptually uniform and fixed, so that two pictures can be compared.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from matplotlib import colormaps
from PIL import Image

from dermdemo.diagnoses import MALIGNANT, full_name
from dermdemo.ui import text

ATTENTION_MAP = "viridis"
ERROR_MAP = "magma"
ERROR_TOP = 0.25  # absolute error at which the error map's colours end
_OPACITY = 0.6
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # luma of Rec. 601


def escape(value: object) -> str:
    """Text of any origin, safe inside an HTML element or a quoted attribute."""
    return html.escape(str(value), quote=True)


def with_code(sentence: str) -> str:
    """Escaped text in which what stands between backticks is set as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(sentence))


@lru_cache
def palette(name: str) -> np.ndarray:
    """The 256 colours of a map, (256, 3) uint8; do not write to it."""
    colours = (colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)
    colours.setflags(write=False)
    return colours


def colourise(values: np.ndarray, name: str, *, top: float = 1.0) -> np.ndarray:
    """(H, W) values in [0, top] -> (H, W, 3) uint8 on a fixed scale; what lies outside is clipped."""
    scaled = np.nan_to_num(values / top, nan=0.0, posinf=1.0, neginf=0.0)
    return palette(name)[(np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)]


def grey(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> luma (H, W, 1) float32, in [0, 255]."""
    return (image.astype(np.float32) @ _GREY)[..., None]


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A heat map in [0, 1] over the grey image, so that every colour seen belongs to the map.

    Args:
        image: (H, W, 3) uint8.
        heat: (H, W) float.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: the two differ in size.
    """
    if image.shape[:2] != heat.shape:
        raise ValueError(f"image is {image.shape[:2]}, heat map {heat.shape}: they must have one size.")
    mixed = (1 - _OPACITY) * grey(image) + _OPACITY * colourise(heat, ATTENTION_MAP)
    return np.clip(mixed, 0, 255).round().astype(np.uint8)


def data_uri(pixels: np.ndarray) -> str:
    """(H, W, 3) uint8 as a lossless PNG inside a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def picture(pixels: np.ndarray, alt: str, title: str, *notes: str) -> str:
    """A square picture with its caption."""
    lines = "".join(f"<span>{escape(note)}</span>" for note in notes)
    return (
        f'<figure class="dd-picture"><img src="{data_uri(pixels)}" alt="{escape(alt)}">'
        f"<figcaption><b>{escape(title)}</b>{lines}</figcaption></figure>"
    )


def scale(name: str, label: str, low: str, high: str) -> str:
    """The legend of a colour map."""
    stops = ", ".join("rgb({}, {}, {})".format(*palette(name)[i]) for i in range(0, 256, 17))
    return (
        f'<div class="dd-scale"><span>{escape(label)}</span><span class="dd-scale-ends">{escape(low)}'
        f'<i style="background: linear-gradient(90deg, {stops})"></i>{escape(high)}</span></div>'
    )


def bars(probabilities: Mapping[str, float]) -> str:
    """One bar per class, the most probable first; malignant classes differ in colour and in words."""
    rows = []
    for key, p in sorted(probabilities.items(), key=lambda item: -item[1]):
        malignant = key in MALIGNANT
        tag = f" <em>{escape(text.MALIGNANT_TAG)}</em>" if malignant else ""
        rows.append(
            f'<li class="dd-bar{" is-malignant" if malignant else ""}">'
            f'<span class="dd-bar-name">{escape(full_name(key))}{tag}</span>'
            f'<span class="dd-bar-value">{escape(text.percent(p))}</span>{track(p)}</li>'
        )
    return f'<ol class="dd-bars">{"".join(rows)}</ol>'


def track(share: float) -> str:
    """A bar filled to a share in [0, 1]."""
    return f'<span class="dd-track"><i style="width: {100 * min(max(share, 0.0), 1.0):.2f}%"></i></span>'


def malignancy(share: float) -> str:
    """The sum of the malignant classes against the rest, as one bar of two parts."""
    return (
        f'<div class="dd-split"><span class="dd-split-bar"><i style="width: {100 * share:.2f}%"></i></span>'
        f'<span class="dd-split-label is-malignant">{escape(text.MALIGNANT)} '
        f"<b>{escape(text.percent(share))}</b></span>"
        f'<span class="dd-split-label">{escape(text.BENIGN)} <b>{escape(text.percent(1 - share))}</b></span></div>'
    )


def table(head: tuple[str, ...], rows: list[tuple[object, ...]], *, css: str = "") -> str:
    """An HTML table; every cell is escaped."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-head="{escape(h)}">{escape(cell)}</td>' for h, cell in zip(head, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<table class="dd-table {escape(css)}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
