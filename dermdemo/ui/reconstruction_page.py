"""The Reconstruction tab as HTML: comparison, error map, draws from the posterior, a walk along one dimension.

Pure functions of an `Analysis` and of decoded pictures. The comparison is two pictures on top of each other,
both inside the HTML: a slider component would write the visitor's image to the server's disk.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dermdemo.types import Analysis, LatentDimension, Reconstruction
from dermdemo.ui import text
from dermdemo.ui.figures import ERROR_MAP, ERROR_TOP, colourise, data_uri, escape, picture, scale, table
from dermdemo.ui.wording import reconstruct as words

STEPS = 7  # pictures of a walk
NEARLY_ALL = 0.9  # share of fine structure from which "nearly all" is said
SPREAD_TOP, CHANGE_TOP = 0.05, 0.1  # where these scales end: like the error's, the same for every image
UNSEEN = 0.002  # mean difference on a range of 0 to 1 that nobody sees: half a step of 8 bits

COMPARE_JS = """
element.addEventListener('input', (event) => {
  const slider = event.target.closest('.dd-compare input');
  if (slider) slider.parentNode.style.setProperty('--dd-cut', slider.value + '%');
});
"""


def render(analysis: Analysis) -> str:
    """Comparison and error map side by side at one size, and below them what the figures say."""
    made = analysis.reconstruction
    return (f'<div class="dd-result"><div class="dd-pair">{_card(words.COMPARE_TITLE, compare(made))}{_error(made)}'
            f"</div>{_kept(analysis, made)}</div>")


def _kept(analysis: Analysis, made: Reconstruction) -> str:
    size, latent, kept = made.image.shape[0], analysis.mu.size, detail_kept(made)
    rows: list[tuple[object, ...]] = [
        (words.PSNR, text.decibel(made.psnr), words.PSNR_MEANING),
        (words.SSIM, f"{made.ssim:.3f}", words.SSIM_MEANING),
        (words.DETAIL, text.percent(kept), words.DETAIL_MEANING),
    ]
    bottleneck = words.LATENT.format(values=f"{made.image.size:,}", size=size, latent=latent,
                                     ratio=f"{made.image.size / latent:.0f}")
    loses = words.LOSES_NOT if kept >= NEARLY_ALL else words.LOSES
    said = (f"<p>{escape(bottleneck)}</p><h3>{escape(words.LOSES_TITLE)}</h3><p>{escape(loses)}</p>")
    return _card(words.KEPT_TITLE, f'<div class="dd-pair">{table(words.FIGURES_HEAD, rows)}<div>{said}</div></div>')


def compare(made: Reconstruction) -> str:
    """Original over reconstruction with a slider between them; it works by pointer and by keyboard."""
    size = words.SHOWN_LARGER.format(size=made.image.shape[0])
    return (
        '<figure class="dd-compare"><div class="dd-stage">'
        f'<img src="{data_uri(made.image)}" alt="{escape(words.RECONSTRUCTED_ALT)}">'
        f'<img class="dd-over" src="{data_uri(made.original)}" alt="{escape(words.ORIGINAL_ALT)}">'
        f'<i class="dd-cut"></i><span class="dd-tag">{escape(words.ORIGINAL)}</span>'
        f'<span class="dd-tag is-right">{escape(words.RECONSTRUCTED)}</span>'
        f'<input type="range" min="0" max="100" value="50" aria-label="{escape(words.COMPARE_ARIA)}"></div>'
        f"<figcaption><b>{escape(words.COMPARE_LABEL)}</b><span>{escape(size)}</span></figcaption></figure>"
    )


def detail_kept(made: Reconstruction) -> float:
    """Squared differences between neighbouring pixels of the reconstruction, share of the original's, at most 1."""
    before, after = _detail(made.original), _detail(made.image)
    return min(after / before, 1.0) if before > 0 else 1.0


def _detail(pixels: np.ndarray) -> float:
    values = pixels.astype(np.float32)
    return float(np.square(np.diff(values, axis=0)).mean() + np.square(np.diff(values, axis=1)).mean())


def _error(made: Reconstruction) -> str:
    said = [words.ERROR_TEXT.format(mean=f"{made.error.mean():.3f}", largest=f"{made.error.max():.3f}")]
    beyond = float((made.error > ERROR_TOP).mean())
    if beyond:
        said.append(words.ERROR_CLIPPED.format(share=text.percent(beyond)))
    shown = (f'<div class="dd-stage"><img src="{data_uri(colourise(made.error, ERROR_MAP, top=ERROR_TOP))}" '
             f'alt="{escape(words.ERROR_ALT)}"></div>')
    return _card(words.ERROR_TITLE, f'{shown}{_legend(words.ERROR_SCALE, ERROR_TOP)}<p class="dd-note">'
                                    f"{escape(' '.join(said))}</p>")


def samples(analysis: Analysis, pictures: np.ndarray, seed: int) -> str:
    """Draws from the posterior, (N, S, S, 3) uint8, and where they differ."""
    shown = [picture(pixels, words.SAMPLES_ALT.format(number=k), words.SAMPLES_DRAW.format(number=k))
             for k, pixels in enumerate(pictures, 1)]
    spread = (pictures.astype(np.float32) / 255).std(0).mean(2)  # (S, S)
    noted = words.SAMPLES_SPREAD_NOTE.format(spread=f"{spread.mean():.3f}")
    shown.append(picture(colourise(spread, ERROR_MAP, top=SPREAD_TOP), words.SAMPLES_SPREAD, words.SAMPLES_SPREAD,
                         noted))
    width = float(np.exp(0.5 * analysis.logvar).mean())
    said = words.SAMPLES_NOTE.format(seed=seed, width=f"{width:.2f}")
    if not spread.any():
        said = words.SAMPLES_SAME
    return (f'<div class="dd-strip">{"".join(shown)}</div>{_legend(words.SPREAD_SCALE, SPREAD_TOP)}'
            f'<p class="dd-note">{escape(said)}</p>')


def choices(dimensions: Sequence[LatentDimension]) -> list[tuple[str, int]]:
    """What the list of dimensions offers: words and index, the most active first."""
    return [(words.WALK_CHOICE.format(place=words.ordinal(k), index=d.index, spread=f"{d.spread:.2f}"), d.index)
            for k, d in enumerate(dimensions, 1)]


def values_of(dimension: LatentDimension) -> list[float]:
    """The values of a walk, from low to high."""
    return [float(v) for v in np.linspace(dimension.low, dimension.high, STEPS)]


def walk(dimension: LatentDimension, own: float, pictures: np.ndarray) -> str:
    """Pictures of a walk, (STEPS, S, S, 3) uint8, the image's own value marked below them, and what changes."""
    shown = "".join(_step(dimension.index, value, pixels)
                    for value, pixels in zip(values_of(dimension), pictures, strict=True))
    change = np.abs(pictures[-1].astype(np.float32) - pictures[0]).mean(2) / 255  # (S, S)
    noted = words.WALK_CHANGES_NOTE.format(mean=f"{change.mean():.3f}")
    changes = picture(colourise(change, ERROR_MAP, top=CHANGE_TOP), words.WALK_CHANGES, words.WALK_CHANGES, noted)
    low, high = number(dimension.low), number(dimension.high)
    said = "" if dimension.low <= own <= dimension.high else words.WALK_OUTSIDE.format(low=low, high=high)
    if change.mean() < UNSEEN:
        said = f"{said} {words.WALK_NOTHING}".strip()
    legend = _legend(words.CHANGE_SCALE, CHANGE_TOP)
    return (
        f'<div class="dd-walk"><div class="dd-scroll" tabindex="0" role="region" '
        f'aria-label="{escape(words.WALK_SCROLL)}"><div class="dd-walk-steps">{shown}{_mark(dimension, own)}</div>'
        f'</div>{changes}</div>{legend}<p class="dd-note">{escape(said)}</p>'
    )


def _step(index: int, value: float, pixels: np.ndarray) -> str:
    alt = words.WALK_ALT.format(index=index, value=number(value))
    return (f'<figure><img src="{data_uri(pixels)}" alt="{escape(alt)}">'
            f"<figcaption>{number(value)}</figcaption></figure>")


def _mark(dimension: LatentDimension, own: float) -> str:
    """A ruler whose ends lie below the middles of the first and the last picture."""
    width = dimension.high - dimension.low
    place = min(max((own - dimension.low) / width, 0.0), 1.0) if width > 0 else 0.5
    said = words.WALK_OWN.format(value=number(own))
    return f'<div class="dd-ruler" style="--dd-at: {place:.4f}"><i></i><b>{escape(said)}</b></div>'


def number(value: float) -> str:
    """Two decimals, with a real minus and never a negative zero."""
    return f"{value:.2f}".replace("-", "−") if abs(value) >= 0.005 else "0.00"


def _legend(label: str, top: float) -> str:
    return scale(ERROR_MAP, label, "0", f"≥ {top:g}")


def _card(title: str, body: str) -> str:
    return f'<section class="dd-card"><h2>{escape(title)}</h2>{body}</section>'
