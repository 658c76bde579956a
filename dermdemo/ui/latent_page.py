"""The Latent space tab as HTML: the map's frame, a selection, one known lesion, quality, nearest known lesions.

Pictures of known lesions are fetched by address, row by row, as they come into view: nothing of a visitor is in them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial

from dermdemo.analysis.atlas_files import AtlasMeta, KnnFigures
from dermdemo.analysis.cohort import ArmFigures, Cohort
from dermdemo.analysis.latent import Atlas
from dermdemo.diagnoses import HAM10000_CLASSES, MALIGNANT, full_name
from dermdemo.types import Analysis, Neighbour, Prediction
from dermdemo.ui import text
from dermdemo.ui.figures import escape, track
from dermdemo.ui.known_map import ASSETS, Snapshot
from dermdemo.ui.map_columns import BLANK
from dermdemo.ui.wording import latent as words

LISTED = 60
_MODES = (("pan", words.PAN), ("lasso", words.LASSO), ("select", words.BOX))
_STEPS = (("in", "+", words.ZOOM_IN), ("out", "−", words.ZOOM_OUT), ("home", "⤢", words.RESET),
          ("find", "◎", words.FIND))  # fmt: skip


def frame() -> str:
    """The map's controls and empty stage; `static/latent_map.js` fills them."""
    said = {"label": words.MAP_LABEL, "loading": words.MAP_LOADING, "failed": words.MAP_FAILED,
            "none": words.MAP_NONE, "yours": words.YOURS, "malignant": words.MALIGNANT,
            "malignantKey": words.MALIGNANT_KEY, "made": words.MADE, "real": words.REAL, "assets": ASSETS}
    modes = "".join(f'<button type="button" data-mode="{m}" aria-pressed="false">{escape(name)}</button>'
                    for m, name in _MODES)
    steps = "".join(f'<button type="button" data-step="{s}" aria-label="{escape(name)}" title="{escape(name)}">'
                    f"{sign}</button>" for s, sign, name in _STEPS)
    told = escape(json.dumps(said, ensure_ascii=False))
    return (
        f'<section class="dd-card dd-map" id="dd-map" data-words="{told}"><div class="dd-map-head">'
        f'<h2>{escape(words.MAP_TITLE)}</h2><label>{escape(words.COLOUR_BY)} <select data-map="by"></select></label>'
        "</div>"
        f'<div class="dd-map-bar"><div role="group" aria-label="{escape(words.MODES)}">{modes}</div>'
        f'<div role="group">{steps}</div>'
        f'<button type="button" data-step="clear" class="dd-map-clear" hidden>{escape(words.CLEAR)}</button></div>'
        '<div class="dd-map-stage" data-map="stage" tabindex="0" role="application"><div data-map="plot"></div>'
        '<div class="dd-map-over" data-map="over" aria-hidden="true"></div>'
        '<div class="dd-map-card" data-map="card" hidden></div>'
        '<p class="dd-map-note" data-map="note" role="status"></p></div>'
        '<p class="dd-map-said" data-map="said" role="status"></p>'
        f'<div class="dd-map-legend" data-map="legend" role="group" aria-label="{escape(words.LEGEND)}"></div>'
        f'<p class="dd-note">{escape(words.HINT)} <span data-map="key"></span></p></section>'
    )


def address(key: str, row: int) -> str:
    """Where a known lesion's picture is."""
    return f"{ASSETS}/lesion/{key}/{row}.png"


def note(sentence: str) -> str:
    """The panel with one sentence."""
    return (f'<section class="dd-card dd-picked"><h2>{escape(words.PANEL_TITLE)}</h2><p>{escape(sentence)}</p>'
            "</section>")


def tone(label: str) -> str:
    """A diagnosis' colour on the map."""
    return f"var(--dd-map-{label if label in HAM10000_CLASSES else 'none'})"


# A selection ------------------------------------------------------------------------------------


def selection(now: Snapshot, chosen: Cohort) -> str:
    """Counts, both arms' figures and the list."""
    said = words.SELECTED.format(images=f"{chosen.n_images:,}", lesions=f"{chosen.n_lesions:,}")
    most = max(chosen.classes.values())
    classes = "".join(f'<li style="--dd-fill: {tone(c)}"><span>{escape(_label(c))}</span><b>{n:,}</b>'
                      f"{track(n / most)}</li>" for c, n in chosen.classes.items())
    splits = " · ".join(f"{words.SPLITS.get(s, s)} {n:,}" for s, n in chosen.splits.items())
    return (
        f'<section class="dd-card dd-picked" data-panel><h2>{escape(said)}</h2><ul class="dd-counts">{classes}</ul>'
        f'<p class="dd-note">{escape(words.SPLIT_COUNTS)}: {escape(splits)}</p>{_accuracy(now, chosen)}'
        f"{_list(now, chosen.rows)}</section>"
    )


def _label(label: str) -> str:
    return full_name(label) if label else words.UNLABELLED


def _accuracy(now: Snapshot, chosen: Cohort) -> str:
    train = chosen.splits.get("train", 0)
    parts = [_figures(words.ALL_ROWS, chosen.arms)]
    if chosen.held_out is not None and train < chosen.n_images:
        parts.append(_figures(words.HELD_OUT, chosen.held_out))
    notes = [words.ARM_MISSING.format(arm=text.arm_name(arm)) for arm in now.missing]
    if train:
        notes.append(words.TRAIN_ONLY if train == chosen.n_images else words.TRAIN_NOTE.format(n=f"{train:,}"))
    notes.append(words.FIGURES_NOTE)
    lines = "".join(f'<p class="dd-note">{escape(line)}</p>' for line in notes)
    return f"<h3>{escape(words.ARMS_TITLE)}</h3>{''.join(parts)}{lines}"


def _figures(title: str, arms: Mapping[str, ArmFigures]) -> str:
    """Both arms on one scale from 0 to 100 %: a dot and its interval."""
    tones = ("first", "second", *["none"] * len(arms))
    rows = "".join(_arm(arm, f, css) for (arm, f), css in zip(arms.items(), tones, strict=False))
    n = next(iter(arms.values())).n_images if arms else 0
    return (f'<div class="dd-scored"><p><b>{escape(title)}</b> <span>n = {n:,}</span></p><ul>{rows}</ul></div>'
            if rows else "")


def _arm(arm: str, f: ArmFigures, css: str) -> str:
    if f.accuracy is None or f.low is None or f.high is None or f.balanced_accuracy is None:
        return f'<li><span>{escape(text.arm_name(arm))}</span><b>–</b></li>'
    ends = f"{100 * f.low:.0f}–{100 * f.high:.0f} %"
    balanced = f"{words.ARMS_HEAD[3].lower()} {text.percent(f.balanced_accuracy)}"
    return (
        f'<li style="--dd-fill: var(--dd-map-{css})"><span>{escape(text.arm_name(arm))}</span>'
        f"<b>{escape(text.percent(f.accuracy))}</b>"
        f'<i class="dd-reach"><i style="left: {100 * f.low:.2f}%; right: {100 - 100 * f.high:.2f}%"></i>'
        f'<b style="left: {100 * f.accuracy:.2f}%"></b></i>'
        f"<small>{f.right:,} / {f.n_images:,} · {escape(ends)} · {escape(balanced)}</small></li>"
    )


def _list(now: Snapshot, rows: Sequence[int]) -> str:
    items = "".join(_item(now, row) for row in rows[:LISTED])
    said = [words.LIST_MARKS.format(arms=words.LIST_THEN.join(map(text.arm_name, now.known.arms)))]
    if len(rows) > LISTED:
        said.append(words.LIST_MORE.format(shown=LISTED, n=f"{len(rows):,}"))
    more = f'<p class="dd-note">{escape(" ".join(said))}</p>'
    return (f'<h3>{escape(words.LIST_TITLE)}</h3><ul class="dd-lesions" tabindex="0" aria-label="'
            f'{escape(words.LIST_TITLE)}">{items}</ul>{more}')


def _item(now: Snapshot, row: int) -> str:
    image_id, label = str(now.known.image_ids[row]), str(now.known.labels[row])
    marks = "".join(_mark(arm, predictions.labels[row], label) for arm, predictions in now.known.arms.items())
    return (
        f'<li><button type="button" data-known="{row}" data-key="{now.key}" aria-label="'
        f'{escape(words.OPEN.format(image_id=image_id, label=_label(label)))}">'
        f'<img src="{address(now.key, row)}" alt="" loading="lazy" width="40" height="40">'
        f'<span><b>{escape(_label(label))}</b><small>{escape(image_id)}</small></span>{marks}</button></li>'
    )


def _mark(arm: str, said: str, label: str) -> str:
    if not label:
        return ""
    right = said == label
    title = f"{text.arm_name(arm)}: {full_name(said)}"
    return (f'<i class="dd-hit is-{"right" if right else "wrong"}" title="{escape(title)}" role="img" aria-label="'
            f'{escape(title)}, {words.RIGHT if right else words.WRONG}">{"✓" if right else "✕"}</i>')


# One known lesion -------------------------------------------------------------------------------


def detail(now: Snapshot, row: int, source: str | None, *, back: bool) -> str:
    """Picture, label, metadata and what both arms say."""
    lesion = now.atlas.neighbour(row, 0.0)
    label = _label(lesion.label)
    real = bool(now.real[row])
    said = words.REAL.format(source=source) if real else words.MADE
    alt = (words.PICTURE_ALT if real else words.PICTURE_ALT_MADE).format(image_id=lesion.image_id, label=label)
    fields = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in _fields(lesion))
    tag = f' <em class="dd-map-tag">{escape(words.MALIGNANT)}</em>' if lesion.label in MALIGNANT else ""
    button = f'<button type="button" class="dd-back" data-back>← {escape(words.BACK)}</button>' if back else ""
    return (
        f'<section class="dd-card dd-picked" data-panel>{button}<h2>{escape(label)}{tag}</h2>'
        f'<figure class="dd-known"><img src="{address(now.key, row)}" alt="{escape(alt)}" width="224" height="224">'
        f"<figcaption><b>{escape(lesion.image_id)}</b><span>{escape(said)}</span></figcaption></figure>"
        f'<dl class="dd-fields">{fields}</dl>{_probabilities(now.predictions(row), lesion.label)}</section>'
    )


def _fields(lesion: Neighbour) -> list[tuple[str, str]]:
    """Everything the atlas tells of a lesion, in words."""
    split = words.SPLITS.get(lesion.split, lesion.split)
    found = [(words.FIELDS["group"], lesion.group), (words.FIELDS["split"], split)]
    for name, value in lesion.metadata.items():
        if value is None or str(value) in BLANK:
            continue
        shown = f"{value:g}" if isinstance(value, float) else words.DX_TYPES.get(value, value)
        found.append((words.FIELDS.get(name, name), shown))
    return found


def _probabilities(arms: Mapping[str, Prediction], label: str) -> str:
    """Both arms' probabilities side by side; the label's row is marked."""
    if not arms:
        return ""
    classes = sorted({c for p in arms.values() for c in p.probabilities},
                     key=lambda c: -max(p.probabilities.get(c, 0.0) for p in arms.values()))
    head = "".join(f'<th scope="col">{escape(text.arm_name(arm))}</th>' for arm in arms)
    rows = "".join(f'<tr class="{"is-label" if c == label else ""}"><th scope="row">{escape(full_name(c))}</th>'
                   + "".join(_probability(p, c) for p in arms.values()) + "</tr>" for c in classes)
    return (f'<table class="dd-both"><thead><tr><th scope="col">{escape(text.PROBABILITIES)}</th>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table>")


def _probability(p: Prediction, label: str) -> str:
    share = p.probabilities.get(label, 0.0)
    return (f'<td class="{"is-top" if label == p.top else ""}" style="--dd-fill: {tone(label)}">'
            f"{escape(text.percent(share))}{track(share)}</td>")


# Beside and below the map -----------------------------------------------------------------------


def quality(meta: AtlasMeta) -> str:
    """Trustworthiness, kNN accuracy in the original space, and what a map cannot tell."""
    q = meta.quality
    lines = [_figure(words.TRUST, f"{q.trustworthiness:.3f}",
                     words.TRUST_NOTE.format(k=q.trustworthiness_k, n=f"{q.trustworthiness_n:,}"))]
    found: dict[str, KnnFigures] = {f.space: f for f in q.knn}
    for space, title in (("latent", words.KNN_LATENT), ("map", words.KNN_MAP)):
        if space in found:
            f = found[space]
            lines.append(_figure(title, text.percent(f.accuracy), words.KNN_NOTE.format(
                balanced=text.percent(f.balanced_accuracy), majority=text.percent(f.majority))))
    how = words.MAP_HOW.format(version=f"UMAP ({meta.map.version})")
    knn = "".join(words.KNN_FROM.format(k=f.k, n=f"{f.n_images:,}", split=words.SPLITS.get(f.split, f.split)) + " "
                  for f in q.knn[:1])
    return (
        f'<section class="dd-card dd-worth"><h2>{escape(words.QUALITY_TITLE)}</h2><dl>{"".join(lines)}</dl>'
        f'<p class="dd-cannot">{escape(words.CANNOT.format(latent=meta.latent))}</p>'
        f'<p class="dd-note">{escape(knn)}{escape(how)}</p></section>'
    )


def _figure(title: str, value: str, said: str) -> str:
    return f"<div><dt>{escape(title)}</dt><dd>{escape(value)}</dd><dd>{escape(said)}</dd></div>"


def near(now: Snapshot | None, analysis: Analysis | None) -> str:
    """The known lesions nearest to the open image as picture cards."""
    found = analysis.neighbours if analysis is not None else ()
    if now is None or analysis is None or not _same_atlas(now.atlas, analysis):
        said = words.NEAR_STALE if now and found else words.NEAR_EMPTY
        return (f'<section class="dd-card dd-near"><h2>{escape(words.NEAR_TITLE)}</h2>'
                f'<p class="dd-note">{escape(said)}</p></section>')
    cards = "".join(map(partial(_card, now), range(1, len(found) + 1), found))
    said = words.NEAR_NOTE if now.real.all() else f"{words.NEAR_NOTE} {words.MADE}."
    return (f'<section class="dd-card dd-near"><h2>{escape(words.NEAR_TITLE)}</h2><ol>{cards}</ol>'
            f'<p class="dd-note">{escape(said)}</p></section>')


def _same_atlas(atlas: Atlas, analysis: Analysis) -> bool:
    return analysis.models.get("atlas") == atlas.meta.sha256


def _card(now: Snapshot, rank: int, lesion: Neighbour) -> str:
    label = _label(lesion.label)
    opened = words.OPEN.format(image_id=lesion.image_id, label=label)
    return (
        f'<li><button type="button" data-known="{lesion.index}" data-key="{now.key}" aria-label="{escape(opened)}">'
        f'<span class="dd-near-picture"><img src="{address(now.key, lesion.index)}" alt="" width="120" height="120">'
        f'<i>{rank}</i></span><b style="--dd-fill: {tone(lesion.label)}">{escape(label)}</b>'
        f"<small>{escape(lesion.image_id)}</small>"
        f"<small>{escape(words.NEAR_DISTANCE.format(distance=lesion.distance))}</small></button></li>"
    )
