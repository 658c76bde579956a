"""Brushes of the procedural lesions: noise, skin, outlines, dermoscopic structures, hairs.

Unusual: nothing here is measured from photographs. Colours and structures follow the textbook
description of each diagnosis, strongly enough for a network to learn and weakly enough to be wrong
about. Colours are float RGB in [0, 1], canvases (H, W, 3); lengths are in half short sides of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Outline:
    """Shape of a lesion's border.

    Attributes:
        radius: smallest and largest mean radius.
        wobble: how irregular, as a share of the radius; elongation: of the ellipse below it.
        softness: width of the transition to skin.
    """

    radius: tuple[float, float]
    wobble: float
    elongation: float
    softness: float


@dataclass(frozen=True)
class Scene:
    """One picture in the making.

    Attributes:
        canvas: (H, W, 3) painted so far.
        x, y: (H, W) coordinates around the lesion's centre, turned at random.
        depth: (H, W) 1 at the centre, 0 on the border, negative outside.
        mask: (H, W) in [0, 1], the lesion with its soft border.
        strength: in [0.3, 1], how typical this example is.
    """

    rng: np.random.Generator
    canvas: np.ndarray
    x: np.ndarray
    y: np.ndarray
    depth: np.ndarray
    mask: np.ndarray
    strength: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def unit(self) -> float:
        """Pixels in one half short side."""
        return min(self.shape) / 2

    def blend(self, colour: Colour | np.ndarray, alpha: np.ndarray) -> None:
        """Lays `colour`, one or (H, W, 3), over the canvas; `alpha` (H, W) in [0, 1]."""
        self.canvas[:] += alpha[..., None] * (np.asarray(colour) - self.canvas)

    def noise(self, cells: float) -> np.ndarray:
        """(H, W) smooth noise of about zero mean and unit deviation; `cells` across the short side."""
        return smooth_noise(self.rng, self.shape, cells)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: float) -> np.ndarray:
    """White noise on a coarse grid, enlarged to `shape` and scaled to unit deviation."""
    height, width = shape
    step = min(shape) / cells
    coarse = rng.standard_normal((max(3, round(height / step) + 2), max(3, round(width / step) + 2)))
    field = Image.fromarray(coarse.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    values = np.asarray(field, dtype=np.float64)
    return np.asarray(values / (values.std() + 1e-6))


def skin(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) bare skin: a tone, uneven light, fine furrows and pores."""
    height, width = shape
    light, dark = np.array([0.93, 0.76, 0.69]), np.array([0.74, 0.53, 0.42])
    tone = light + (dark - light) * rng.beta(1.3, 3.0) + rng.normal(0, 0.012, 3)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    shade = 1 + rng.uniform(0, 0.09) * (np.cos(angle) * x + np.sin(angle) * y)
    shade += 0.016 * smooth_noise(rng, shape, 5) + 0.013 * smooth_noise(rng, shape, 45)
    blotches = 0.014 * smooth_noise(rng, shape, 4)[..., None] * np.array([0.3, -1.0, -0.8])
    return np.asarray(tone * shade[..., None] + blotches)


def scene(rng: np.random.Generator, shape: tuple[int, int], outline: Outline) -> Scene:
    """Skin, and where the lesion lies on it: a noisy polar radius around an ellipse off the centre."""
    height, width = shape
    unit = min(shape) / 2
    centre = np.array([width, height]) / 2 / unit + rng.normal(0, 0.09, 2)
    y, x = np.mgrid[:height, :width] / unit
    x, y = x - centre[0], y - centre[1]
    turn = rng.uniform(0, 2 * np.pi)
    x, y = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    stretch = 1 + rng.uniform(0, outline.elongation)
    theta = np.arctan2(y * stretch, x / stretch)
    radius = np.ones(shape)
    for k in range(2, 8):
        size = outline.wobble * rng.normal() / k**0.8
        radius += size * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
    radius *= 1 + 0.35 * outline.wobble * smooth_noise(rng, shape, 9)
    radius = np.clip(radius, 0.45, 1.7) * rng.uniform(*outline.radius)
    depth = 1 - np.hypot(x / stretch, y * stretch) / radius
    mask = 1 / (1 + np.exp(np.clip(-depth / outline.softness, -30, 30)))
    return Scene(rng, skin(rng, shape), x, y, depth, mask, rng.uniform(0.3, 1))


def vary(rng: np.random.Generator, colour: Colour) -> np.ndarray:
    """A colour near `colour`: mostly lighter or darker, a little off in hue."""
    return np.clip(np.array(colour) * rng.normal(1, 0.07) + rng.normal(0, 0.013, 3), 0.02, 1)


def dots(s: Scene, count: int, size: tuple[float, float], *, within: float = 0.1) -> np.ndarray:
    """(H, W) in [0, 1]: `count` soft round spots with radii `size`, where depth exceeds `within`."""
    out = np.zeros(s.shape)
    rows, columns = np.nonzero(s.depth > within)
    if not len(rows):
        return out
    for i in s.rng.integers(len(rows), size=count):
        radius = s.rng.uniform(*size) * s.unit
        reach = int(2.2 * radius) + 2
        top, left = max(0, rows[i] - reach), max(0, columns[i] - reach)
        bottom, right = min(s.shape[0], rows[i] + reach + 1), min(s.shape[1], columns[i] + reach + 1)
        box = np.s_[top:bottom, left:right]
        y, x = np.ogrid[box]
        away = np.hypot((y - rows[i]) * s.rng.uniform(0.8, 1.25), x - columns[i])
        out[box] = np.maximum(out[box], np.clip((radius - away) / (0.6 * radius + 0.6) + 0.5, 0, 1))
    return out


def network(s: Scene, cells: float) -> np.ndarray:
    """(H, W) in [0, 1]: a honeycomb of thin lines, warped and broken: the pigment network."""
    warp = 0.035 * s.noise(8)
    x, y = (s.x + warp) * cells * np.pi, (s.y + 0.035 * s.noise(8)) * cells * np.pi
    waves = sum(np.cos(x * np.cos(a) + y * np.sin(a)) for a in (0, 2 * np.pi / 3, 4 * np.pi / 3))
    lines = np.clip((0.0 - np.asarray(waves)) / 1.3, 0, 1)
    return np.asarray(lines * np.clip(0.65 + 0.45 * s.noise(5), 0, 1))


def strokes(shape: tuple[int, int], paths: Sequence[np.ndarray], width: float, blur: float) -> np.ndarray:
    """(H, W) in [0, 1]: polylines, each (points, 2) as x, y in pixels, drawn at double size."""
    height, width_px = shape
    sheet = Image.new("L", (2 * width_px, 2 * height))
    pen = ImageDraw.Draw(sheet)
    for path in paths:
        pen.line([(2 * float(x), 2 * float(y)) for x, y in path], fill=255, width=max(1, round(2 * width)))
    sheet = sheet.reduce(2).filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(sheet, dtype=np.float64) / 255


def vessels(s: Scene, stems: int) -> np.ndarray:
    """(H, W) in [0, 1]: branching vessels that start inside the lesion."""
    rows, columns = np.nonzero(s.depth > 0.05)
    paths: list[np.ndarray] = []
    for _ in range(stems if len(rows) else 0):
        i = s.rng.integers(len(rows))
        start, heading = np.array([columns[i], rows[i]], float), s.rng.uniform(0, 2 * np.pi)
        stem = _wander(s.rng, start, heading, steps=12, stride=0.045 * s.unit)
        paths.append(stem)
        for j in s.rng.integers(2, 11, size=2):
            turn = heading + s.rng.choice([-1, 1]) * s.rng.uniform(0.5, 1.1)
            paths.append(_wander(s.rng, stem[j], turn, steps=7, stride=0.04 * s.unit))
    return strokes(s.shape, paths, 0.014 * s.unit, 0.01 * s.unit)


def _wander(
    rng: np.random.Generator, start: np.ndarray, heading: float, *, steps: int, stride: float
) -> np.ndarray:
    """(steps + 1, 2) points of a walk that bends as it goes."""
    angles = heading + np.cumsum(rng.normal(0, 0.22, steps))
    moves = stride * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(np.vstack([start, start + np.cumsum(moves, axis=0)]))


def hairs(s: Scene, count: int) -> None:
    """Dark curved hairs across the whole picture, each with a faint shine."""
    height, width = s.shape
    lean = s.rng.uniform(0, np.pi)
    paths = []
    for _ in range(count):
        start = s.rng.uniform((0, 0), (width, height))
        heading, bend = s.rng.normal(lean, 0.35), s.rng.normal(0, 0.06)
        angles = heading + np.cumsum(np.full(28, bend))
        moves = 0.065 * s.unit * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        paths.append(start + np.cumsum(moves, axis=0) - moves.sum(axis=0) / 2)
    alpha = strokes(s.shape, paths, 0.014 * s.unit, 0.004 * s.unit)
    s.blend((0.16, 0.11, 0.09), 0.75 * alpha)


def finish(s: Scene, corners: float) -> np.ndarray:
    """(H, W, 3) uint8: vignette, shine of the gel, sensor noise."""
    height, width = s.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    picture = s.canvas * (1 - corners * np.clip((x**2 + y**2 - 0.7) / 1.3, 0, 1) ** 1.5)[..., None]
    picture += s.rng.normal(0, 0.012, picture.shape)
    return np.asarray((np.clip(picture, 0, 1) * 255).round().astype(np.uint8))


Paint = Callable[[Scene], None]
