"""The result of one analysis as HTML: a verdict, both arms, attention, reconstruction, novelty, neighbours.

Everything here is a pure function of `Analysis`. The order of the sections never changes and pictures keep
their place while they load, so that a second result replaces the first without a jump.
"""

from __future__ import annotations

import numpy as np

from dermdemo.diagnoses import full_name
from dermdemo.types import Analysis, Attribution, Neighbour, Novelty, Prediction
from dermdemo.ui import text
from dermdemo.ui.figures import (
    ATTENTION_MAP,
    ERROR_MAP,
    ERROR_TOP,
    bars,
    colourise,
    data_uri,
    escape,
    malignancy,
    overlay,
    picture,
    scale,
    table,
    track,
)

_LEVELS = {"agree": "calm", "disagree": "warn", "disagree-on-malignancy": "alert",
           "typical": "calm", "unusual": "warn", "far": "alert"}  # fmt: skip


def render(analysis: Analysis) -> str:
    """The whole result."""
    parts = (verdict(analysis), arms(analysis), _pair(novelty(analysis.novelty), seen(analysis)), details(analysis))
    return f'<div class="dd-result">{"".join(parts)}</div>'


def subject(analysis: Analysis | None, key: str | None = None) -> str:
    """The strip on top of the other tabs: which image they are about, and what the arms say of it."""
    if analysis is None:
        return f'<p class="dd-subject is-empty">{escape(text.SUBJECT_GONE if key else text.SUBJECT_NONE)}</p>'
    first = next(iter(analysis.inputs.values()))
    said = "".join(f"<span>{escape(text.arm_name(arm))}: <b>{escape(full_name(p.top))}</b> "
                   f"{escape(text.percent(p.probabilities[p.top]))}</span>" for arm, p in analysis.arms.items())
    named = f"<b>{escape(analysis.name)}</b>"
    return f'<div class="dd-subject"><img src="{data_uri(first)}" alt=""><div>{named}{said}</div></div>'


def seen(analysis: Analysis) -> str:
    """The image exactly as each model sees it, and how that input is made."""
    pictures = "".join(picture(pixels, text.SEEN_ALT.format(arm=text.arm_name(arm)), text.arm_name(arm),
                               text.RECONSTRUCTION_SIZE.format(size=pixels.shape[0]))
                       for arm, pixels in analysis.inputs.items())
    note = f'<p class="dd-note">{escape(text.SEEN_NOTE)}</p>'
    return _section(text.SEEN_TITLE, f'<div class="dd-pictures is-two is-small">{pictures}</div>{note}')


def empty() -> str:
    """What stands in the place of a result before the first image."""
    steps = "".join(f"<li><b>{escape(name)}</b><span>{escape(what)}</span></li>" for name, what in text.EMPTY_STEPS)
    return (
        f'<div class="dd-result"><section class="dd-card dd-empty"><h2>{escape(text.EMPTY_TITLE)}</h2>'
        f"<p>{escape(text.EMPTY_TEXT)}</p><ul>{steps}</ul></section></div>"
    )


def failure(sentence: str, *, title: str = text.FAILED_TITLE) -> str:
    """A sentence in the place of a result."""
    return (
        f'<div class="dd-result"><section class="dd-card dd-failure" role="alert"><h2>{escape(title)}</h2>'
        f"<p>{escape(sentence)}</p></section></div>"
    )


def agreement_sentence(analysis: Analysis) -> str:
    """Whether the arms name the same class, in words."""
    named = {p.top for p in analysis.arms.values()}
    if analysis.agreement == "disagree-on-malignancy":
        return text.SENTENCE_MALIGNANCY
    if len(named) > 1:
        return text.SENTENCE_DIFFER
    return text.SENTENCE_AGREE[min(len(analysis.arms), 3)].format(name=full_name(named.pop()))


def verdict(analysis: Analysis) -> str:
    """Picture, agreement and novelty at a glance."""
    first = next(iter(analysis.inputs.values()))
    width, height = analysis.source_size
    size = text.SOURCE_SIZE.format(width=width, height=height)
    chips = [_chip(text.AGREEMENT_CHIP[analysis.agreement], _LEVELS[analysis.agreement])]
    if analysis.novelty:
        chips.append(_chip(text.NOVELTY_CHIP[analysis.novelty.level], _LEVELS[analysis.novelty.level]))
    sides = "".join(
        f'<li><span>{escape(text.arm_name(arm))}</span><b>{escape(full_name(p.top))}</b>'
        f"<span>{escape(text.percent(p.probabilities[p.top]))}</span>{_malignant_share(p)}</li>"
        for arm, p in analysis.arms.items()
    )
    return (
        '<section class="dd-card dd-verdict">'
        f"{picture(first, text.RECONSTRUCTION_INPUT, analysis.name, size)}"
        f'<div><p class="dd-chips">{"".join(chips)}</p><h2>{escape(agreement_sentence(analysis))}</h2>'
        f'<ul class="dd-sides">{sides}</ul></div></section>'
    )


def _malignant_share(prediction: Prediction) -> str:
    if prediction.malignant is None:
        return ""
    share = text.MALIGNANT_SHARE.format(share=text.percent(prediction.malignant))
    return f'<span class="dd-share">{escape(share)}</span>'


def arms(analysis: Analysis) -> str:
    """Probabilities of every arm, side by side."""
    cards = "".join(_arm(arm, prediction) for arm, prediction in analysis.arms.items())
    note = f'<p class="dd-note">{escape(text.MALIGNANT_NOTE)} {escape(text.PROBABILITIES_NOTE)}</p>'
    return f'<section class="dd-arms">{cards}{note}</section>'


def _arm(arm: str, prediction: Prediction) -> str:
    classes = ", ".join(full_name(key) for key in prediction.prediction_set)
    chosen = text.PREDICTION_SET.format(classes=classes) if classes else text.PREDICTION_SET_NONE
    both = malignancy(prediction.malignant) if prediction.malignant is not None else "<div></div>"
    return (
        f'<article class="dd-card dd-arm"><header><h3>{escape(text.arm_name(arm))}</h3>'
        f"<p>{escape(text.ORIGIN.format(origin=prediction.origin))}</p></header>"
        f'{bars(prediction.probabilities)}{both}<p class="dd-note">{escape(chosen)}</p></article>'
    )


def attention(analysis: Analysis) -> str:
    """Grad-CAM of every arm over what it saw, on one colour scale."""
    shown = "".join(_attention(analysis, arm, a) for arm, a in analysis.attributions.items())
    legend = scale(ATTENTION_MAP, text.ATTENTION_SCALE, "0", "1")
    return _section(text.ATTENTION_TITLE, f'<div class="dd-pictures is-two">{shown}</div>{legend}')


def _attention(analysis: Analysis, arm: str, attribution: Attribution) -> str:
    name, target = text.arm_name(arm), full_name(attribution.target)
    rows, columns = attribution.grid
    notes = [text.ATTENTION_GRID.format(rows=rows, columns=columns, size=attribution.heat.shape[0])]
    if not attribution.heat.any():
        notes.append(text.ATTENTION_FLAT)
    pixels = overlay(analysis.inputs[arm], attribution.heat)
    alt = text.ATTENTION_ALT.format(arm=name, target=target)
    return picture(pixels, alt, text.ATTENTION_CAPTION.format(arm=name, target=target), *notes)


def reconstruction(analysis: Analysis) -> str:
    """Model input, what the VAE makes of it, and where the two differ."""
    made = analysis.reconstruction
    size = text.RECONSTRUCTION_SIZE.format(size=made.image.shape[0])
    figures = text.RECONSTRUCTION_FIGURES.format(psnr=text.decibel(made.psnr), ssim=f"{made.ssim:.3f}")
    shown = (
        picture(vae_input(analysis), text.RECONSTRUCTION_INPUT, text.RECONSTRUCTION_INPUT, size),
        picture(made.image, text.RECONSTRUCTION_IMAGE, text.RECONSTRUCTION_IMAGE, figures,
                text.RECONSTRUCTION_FROM.format(latent=analysis.mu.size)),
        picture(colourise(made.error, ERROR_MAP, top=ERROR_TOP), text.RECONSTRUCTION_ERROR,
                text.RECONSTRUCTION_ERROR, text.RECONSTRUCTION_MEAN.format(error=f"{made.error.mean():.3f}")),
    )  # fmt: skip
    legend = scale(ERROR_MAP, text.RECONSTRUCTION_SCALE, "0", f"≥ {ERROR_TOP:g}")
    return _section(text.RECONSTRUCTION_TITLE, f'<div class="dd-pictures is-three">{"".join(shown)}</div>{legend}')


def novelty(found: Novelty | None) -> str:
    """How unusual the image is for the VAE."""
    if found is None:
        return _section(text.NOVELTY_TITLE, f'<p class="dd-note">{escape(text.NOVELTY_NONE)}</p>')
    lines = [text.NOVELTY_DISTANCE.format(share=text.percent(found.distance_quantile)),
             text.NOVELTY_ERROR.format(share=text.percent(found.error_quantile))]
    if found.feature_quantile is not None:
        lines.insert(1, text.NOVELTY_FEATURES.format(share=text.percent(found.feature_quantile)))
    if found.detail_quantile is not None:
        lines.append(text.NOVELTY_DETAIL.format(share=text.percent(found.detail_quantile)))
    lines.append(text.NOVELTY_REFERENCE.format(reference=found.reference))
    notes = "".join(f'<p class="dd-note">{escape(line)}</p>' for line in lines)
    return _section(
        text.NOVELTY_TITLE,
        f"<p>{escape(text.NOVELTY_TEXT[found.level])}</p>"
        f'<div class="dd-meter is-{_LEVELS[found.level]}">{track(found.score)}'
        f"<b>{escape(text.NOVELTY_SCORE.format(share=text.percent(found.score)))}</b></div>{notes}",
    )


def neighbours(found: tuple[Neighbour, ...]) -> str:
    """The nearest known lesions as a table."""
    if not found:
        return _section(text.NEIGHBOURS_TITLE, f'<p class="dd-note">{escape(text.NEIGHBOURS_NONE)}</p>')
    rows: list[tuple[object, ...]] = [
        (n.image_id, full_name(n.label), f"{n.distance:.2f}", n.split, _about(n)) for n in found
    ]
    note = f'<p class="dd-note">{escape(text.NEIGHBOURS_NOTE)}</p>'
    return _section(text.NEIGHBOURS_TITLE, table(text.NEIGHBOURS_HEAD, rows, css="is-stacked") + note)


def _about(neighbour: Neighbour) -> str:
    """Age, sex and site in one line, or whatever else the data set tells of a lesion."""
    known = {k: v for k, v in neighbour.metadata.items() if v not in (None, "", "unknown") and v == v}
    parts = [f"{v:g}" if isinstance(v, float) else str(v) for v in known.values()]
    return ", ".join(parts[:4]) or "–"


def details(analysis: Analysis) -> str:
    """Model names and hashes, and where the time went; closed until asked for."""
    models: list[tuple[object, ...]] = [(name, sha256[:12]) for name, sha256 in analysis.models.items()]
    spent = {label: getattr(analysis.timing, key) for key, label in text.TIMING_STEPS.items()}
    times: list[tuple[object, ...]] = [(label, text.milliseconds(ms)) for label, ms in spent.items()]
    times.append((text.TIMING_TOTAL, text.milliseconds(analysis.timing.total)))
    both = _pair(table((text.DETAILS_MODEL, text.DETAILS_HASH), models, css="is-mono"),
                 table((text.DETAILS_STEP, text.DETAILS_TIME), times))  # fmt: skip
    device = f'<p class="dd-note">{escape(text.DETAILS_DEVICE.format(device=analysis.device))}</p>'
    return (
        f'<details class="dd-card dd-details"><summary>{escape(text.DETAILS_TITLE)}</summary>{both}{device}</details>'
    )


def vae_input(analysis: Analysis) -> np.ndarray:
    """The input that the reconstruction belongs to: of the VAE's size, its own arm's first."""
    size = analysis.reconstruction.image.shape
    fitting = {arm: pixels for arm, pixels in analysis.inputs.items() if pixels.shape == size}
    return fitting.get("vae", next(iter((fitting or analysis.inputs).values())))


def _section(title: str, body: str) -> str:
    return f'<section class="dd-card"><h2>{escape(title)}</h2>{body}</section>'


def _pair(left: str, right: str) -> str:
    return f'<div class="dd-pair">{left}{right}</div>'


def _chip(label: str, level: str) -> str:
    return f'<span class="dd-chip is-{level}">{escape(label)}</span>'
