"""Procedural lesions: tests, the first run and examples, without a patient in sight.

They look like dermoscopy from across the room and prove nothing about it: a score on them says that the
code learns, not that it knows skin. Same label, seed and size: same picture.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from dermdemo.data.painting import (
    Colour,
    Outline,
    Paint,
    Scene,
    dots,
    finish,
    hairs,
    network,
    scene,
    vary,
    vessels,
)
from dermdemo.diagnoses import HAM10000_CLASSES
from dermdemo.errors import ConfigError

MIN_PER_CLASS = 5
METADATA = "HAM10000_metadata.csv"
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
# Lesions of each class in HAM10000, and mean age there. Source: Tschandl et al. 2018.
_LESIONS = {"akiec": 228, "bcc": 327, "bkl": 727, "df": 73, "mel": 614, "nv": 5403, "vasc": 98}
_AGES = {"akiec": 66, "bcc": 67, "bkl": 64, "df": 54, "mel": 61, "nv": 47, "vasc": 51}
_SITES = ("back", "lower extremity", "trunk", "upper extremity", "abdomen", "face", "chest", "unknown")


def _body(s: Scene, inner: Colour, rim: Colour, mottle: float) -> None:
    """Fills the lesion: one colour at the centre, another at the border, unevenly mixed."""
    mix = np.clip(s.depth * 1.3 + mottle * s.noise(4), 0, 1)[..., None]
    s.blend(vary(s.rng, rim) * (1 - mix) + vary(s.rng, inner) * mix, 0.9 * s.mask)


def _nevus(s: Scene) -> None:
    _body(s, (0.44, 0.28, 0.19), (0.62, 0.43, 0.31), 0.12)
    if s.rng.random() < 0.75:
        s.blend((0.27, 0.16, 0.11), 0.8 * s.strength * s.mask * network(s, s.rng.uniform(10, 14)))
    else:
        s.blend((0.26, 0.16, 0.11), 0.7 * s.strength * s.mask * dots(s, 60, (0.02, 0.04)))


def _melanoma(s: Scene) -> None:
    _body(s, (0.30, 0.19, 0.15), (0.50, 0.33, 0.25), 0.25)
    lean = np.clip(0.5 + 0.8 * s.x, 0, 1)  # one half differs from the other
    patches: tuple[tuple[Colour, float], ...] = (
        ((0.09, 0.06, 0.07), 0.9),  # black
        ((0.37, 0.42, 0.52), 0.75),  # blue-grey veil
        ((0.62, 0.30, 0.27), 0.6),  # red
        ((0.80, 0.72, 0.69), 0.5),  # white, regression
    )
    for i, (colour, alpha) in enumerate(patches):
        where = np.clip(1.1 * (s.noise(2.6) - 0.3 + (lean - 0.5) * (1 if i % 2 else -1)), 0, 1)
        s.blend(vary(s.rng, colour), alpha * s.strength * s.mask * where)
    s.blend((0.10, 0.07, 0.06), 0.5 * s.mask * lean * network(s, s.rng.uniform(7, 9)))
    s.blend((0.07, 0.05, 0.05), 0.8 * s.strength * s.mask * dots(s, 22, (0.012, 0.04), within=-0.02))


def _vascular(s: Scene) -> None:
    _body(s, (0.74, 0.36, 0.36), (0.86, 0.58, 0.54), 0.15)
    count = int(s.rng.integers(14, 30))
    tint: Colour = (0.62, 0.07, 0.13) if s.rng.random() < 0.7 else (0.34, 0.08, 0.25)
    s.blend(vary(s.rng, tint), (0.45 + 0.35 * s.strength) * dots(s, count, (0.06, 0.16)))
    s.blend(vary(s.rng, tint) * 0.7, 0.6 * s.strength * dots(s, count // 3, (0.04, 0.09)))
    s.blend((0.95, 0.90, 0.90), 0.25 * s.mask * np.clip(s.noise(5) - 1.2, 0, 1))


def _keratosis_actinic(s: Scene) -> None:
    _body(s, (0.80, 0.50, 0.45), (0.85, 0.62, 0.55), 0.3)
    s.blend((0.68, 0.26, 0.25), 0.6 * s.strength * s.mask * dots(s, 70, (0.012, 0.03), within=0.0))
    scale = np.clip(0.75 * s.noise(28) + 0.6 * s.noise(5) - 0.35, 0, 1)
    s.blend(vary(s.rng, (0.94, 0.90, 0.80)), (0.35 + 0.45 * s.strength) * s.mask * scale)


def _carcinoma(s: Scene) -> None:
    _body(s, (0.87, 0.67, 0.64), (0.80, 0.55, 0.52), 0.2)
    s.blend((0.96, 0.88, 0.87), 0.45 * s.mask * np.clip(s.noise(4) - 0.2, 0, 1))  # pearly
    nests = dots(s, int(s.rng.integers(3, 9)), (0.05, 0.13), within=0.05)
    s.blend(vary(s.rng, (0.36, 0.37, 0.45)), 0.75 * s.strength * nests)
    s.blend((0.68, 0.16, 0.18), (0.35 + 0.6 * s.strength) * vessels(s, 6))


def _keratosis_benign(s: Scene) -> None:
    _body(s, (0.57, 0.41, 0.27), (0.69, 0.51, 0.35), 0.3)
    furrows = np.clip(1 - 3.2 * np.abs(s.noise(7)), 0, 1)
    s.blend((0.36, 0.25, 0.14), 0.55 * s.strength * s.mask * furrows)
    s.blend((0.24, 0.16, 0.10), 0.85 * s.strength * dots(s, 12, (0.025, 0.05)))
    s.blend((0.96, 0.92, 0.78), 0.9 * s.strength * dots(s, 16, (0.025, 0.045)))


def _dermatofibroma(s: Scene) -> None:
    _body(s, (0.72, 0.52, 0.42), (0.70, 0.48, 0.37), 0.12)
    s.blend((0.50, 0.32, 0.23), 0.6 * s.strength * s.mask * network(s, s.rng.uniform(8, 10)))
    scar = 1 / (1 + np.exp(np.clip(-(s.depth - 0.52 + 0.07 * s.noise(6)) / 0.06, -30, 30)))
    s.blend(vary(s.rng, (0.95, 0.86, 0.82)), (0.45 + 0.5 * s.strength) * scar)


_RECIPES: Mapping[str, tuple[Outline, Paint]] = {
    "akiec": (Outline(radius=(0.5, 0.8), wobble=0.20, elongation=0.30, softness=0.16), _keratosis_actinic),
    "bcc": (Outline(radius=(0.45, 0.75), wobble=0.14, elongation=0.25, softness=0.10), _carcinoma),
    "bkl": (Outline(radius=(0.5, 0.8), wobble=0.10, elongation=0.35, softness=0.025), _keratosis_benign),
    "df": (Outline(radius=(0.4, 0.65), wobble=0.06, elongation=0.15, softness=0.16), _dermatofibroma),
    "mel": (Outline(radius=(0.55, 0.8), wobble=0.2, elongation=0.3, softness=0.05), _melanoma),
    "nv": (Outline(radius=(0.4, 0.75), wobble=0.06, elongation=0.25, softness=0.08), _nevus),
    "vasc": (Outline(radius=(0.35, 0.65), wobble=0.10, elongation=0.20, softness=0.08), _vascular),
}


def synthetic_lesion(label: str, seed: int, size: tuple[int, int] = (200, 150)) -> Image.Image:
    """A dermoscopy-like picture of one lesion.

    Args:
        label: one of the seven HAM10000 keys.
        size: (width, height) in pixels, each at least 16.

    Returns:
        RGB image.

    Raises:
        ConfigError: unknown label, or a side below 16.
    """
    if label not in _RECIPES:
        raise ConfigError(f"No synthetic lesion is known for '{label}'. Known: {', '.join(_RECIPES)}.")
    if min(size) < 16:
        raise ConfigError(f"A synthetic lesion needs at least 16 pixels a side, not {size[0]} x {size[1]}.")
    rng = np.random.default_rng([seed, HAM10000_CLASSES.index(label)])
    outline, paint = _RECIPES[label]
    s = scene(rng, (size[1], size[0]), outline)
    paint(s)
    if rng.random() < 0.3:
        hairs(s, int(rng.integers(3, 14)))
    corners = rng.uniform(0.5, 0.9) if rng.random() < 0.35 else rng.uniform(0, 0.2)
    return Image.fromarray(finish(s, corners))


def write_synthetic(
    folder: Path, *, n_lesions: int, seed: int = 0, layout: Literal["ham10000", "folders"] = "ham10000"
) -> Path:
    """A data set on disk: JPEGs of 200 x 150, frequencies as skewed as HAM10000's.

    ``ham10000``: ``images/SYN_0000000.jpg`` ... and, written last, ``HAM10000_metadata.csv``; about a third
    of the lesions have two or three images, some ages are missing. ``folders``: one folder per class.
    Every class has 5 lesions or more if `n_lesions` is at least 70, and one or more from 7 on.

    Returns:
        `folder`, made if need be.

    Raises:
        ConfigError: fewer than 7 lesions, or an unknown layout.
    """
    if n_lesions < len(_RECIPES):
        raise ConfigError(f"n_lesions must be at least {len(_RECIPES)}, one of each class, not {n_lesions}.")
    if layout not in ("ham10000", "folders"):
        raise ConfigError(f"layout must be 'ham10000' or 'folders', not '{layout}'.")
    rows = []
    for row, picture in _shots(n_lesions, seed):
        parent = folder / ("images" if layout == "ham10000" else row.dx)
        parent.mkdir(parents=True, exist_ok=True)
        picture.save(parent / f"{row.image_id}.jpg", quality=90)
        rows.append(row)
    if layout == "ham10000":
        with (folder / METADATA).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    return folder


class _Row(NamedTuple):
    lesion_id: str
    image_id: str
    dx: str
    dx_type: str
    age: str
    sex: str
    localization: str


def _counts(n_lesions: int) -> dict[str, int]:
    """Lesions of each class: a floor for all, the rest in HAM10000's proportions; they sum to `n_lesions`."""
    floor = min(MIN_PER_CLASS, n_lesions // len(_LESIONS))
    left, total = n_lesions - floor * len(_LESIONS), sum(_LESIONS.values())
    counts = {label: floor + left * n // total for label, n in _LESIONS.items()}
    counts["nv"] += n_lesions - sum(counts.values())
    return counts


def _shots(n_lesions: int, seed: int) -> Iterator[tuple[_Row, Image.Image]]:
    """Every image with its row of metadata, classes mixed."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation([label for label, n in _counts(n_lesions).items() for _ in range(n)])
    image = 0
    for lesion, label in enumerate(map(str, labels)):
        picture = synthetic_lesion(label, int(rng.integers(2**31)))
        age = (
            ""
            if rng.random() < 0.05
            else f"{5 * round(float(np.clip(rng.normal(_AGES[label], 14), 5, 85)) / 5)}.0"
        )
        how = "histo" if label in ("mel", "bcc", "akiec") or rng.random() < 0.4 else "follow_up"
        about = (age, str(rng.choice(["male", "female"])), str(rng.choice(_SITES)))
        for view in range(int(rng.choice([1, 2, 3], p=[0.68, 0.24, 0.08]))):
            shot = picture if view == 0 else _again(picture, rng)
            yield _Row(f"SYNL_{lesion:07d}", f"SYN_{image:07d}", label, how, *about), shot
            image += 1


def _again(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The same lesion photographed once more: turned, closer, in other light."""
    width, height = picture.size
    turned = picture.rotate(float(rng.uniform(-12, 12)), Image.Resampling.BICUBIC)
    margin = float(rng.uniform(0.15, 0.22))
    box = (margin * width, margin * height, (1 - margin) * width, (1 - margin) * height)
    closer = turned.resize((width, height), Image.Resampling.BICUBIC, box=box)
    gain = rng.normal(1, 0.04, 3)
    return Image.fromarray(np.clip(np.asarray(closer) * gain, 0, 255).astype(np.uint8))
