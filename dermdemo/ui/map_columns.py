"""What the map can be coloured by: each column as a short list of categories and a code per lesion.

A category names a tone, a CSS variable ``--dd-map-<tone>`` with a value for light and one for dark, and a mark:
malignant classes and wrong answers differ in shape too, so that colour never stands alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dermdemo.analysis.cohort import KnownLesions, sort_splits
from dermdemo.analysis.latent import Atlas
from dermdemo.diagnoses import HAM10000_CLASSES, MALIGNANT, full_name
from dermdemo.ui import text
from dermdemo.ui.wording import latent as words

CYCLE = 8  # tones c0 to c7, used again with another mark
STEPS = 8  # tones s0 to s7 of a scale
AGES = (0, 20, 30, 40, 50, 60, 70, 80)
SHARES = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
BLANK = ("", "unknown", "nan", "None")
DIAGNOSES = ("mel", "bcc", "akiec", "nv", "bkl", "df", "vasc")  # malignant ones first

Category = dict[str, str]


def columns(atlas: Atlas, known: KnownLesions) -> list[dict[str, Any]]:
    """Every colouring the atlas allows, in the order of the menu."""
    found = [_diagnosis("label", words.DIAGNOSIS, words.GROUP_LESION, known.labels.tolist()), _split(known)]
    if "age" in atlas.columns:
        found.append(_age(atlas.columns["age"]))
    for name, title in (("sex", words.SEX), ("localization", words.SITE), ("site", words.SITE)):
        if name in atlas.columns:
            found.append(_named(name, title, atlas.columns[name]))
    for arm, predictions in known.arms.items():
        group = text.arm_name(arm)
        found.append(_diagnosis(f"{arm}_top", words.PREDICTION, group, predictions.labels))
        found.append(_outcome(known, arm))
        found.append(_confidence(f"{arm}_confidence", group, predictions.confidence))
    if len(known.arms) == 2:
        found.append(_compared(known))
    return [column for column in found if column["categories"]]


def _column(name: str, title: str, group: str, categories: Sequence[Category], codes: Sequence[int], **more: Any
            ) -> dict[str, Any]:
    """Categories without a lesion are left out."""
    counts = Counter(codes)
    kept = [k for k in range(len(categories)) if counts[k]]
    place = {k: i for i, k in enumerate(kept)}
    return {"name": name, "title": title, "group": group, "categories": [categories[k] for k in kept],
            "codes": [place[k] for k in codes], **more}


def _category(label: str, tone: str, mark: str = "circle") -> Category:
    return {"label": label, "tone": tone, "mark": mark}


def _diagnosis(name: str, title: str, group: str, labels: Sequence[str]) -> dict[str, Any]:
    others = sorted(set(labels) - set(DIAGNOSES) - {""})
    order = [*DIAGNOSES, *others, ""]
    tones = {c: c if c in HAM10000_CLASSES else f"c{k % CYCLE}" for k, c in enumerate([*DIAGNOSES, *others])}
    categories = [_category(full_name(c), tones[c], "diamond" if c in MALIGNANT else "circle") | {"key": c}
                  for c in order[:-1]] + [_category(words.UNLABELLED, "none")]
    place = {c: k for k, c in enumerate(order)}
    return _column(name, title, group, categories, [place[c] for c in labels], malignant=True)


def _split(known: KnownLesions) -> dict[str, Any]:
    names = sort_splits(Counter(known.splits.tolist()))
    categories = [_category(words.SPLITS.get(name, name), f"c{k % CYCLE}") for k, name in enumerate(names)]
    place = {name: k for k, name in enumerate(names)}
    return _column("split", words.SPLIT, words.GROUP_LESION, categories, [place[s] for s in known.splits.tolist()])


def _named(name: str, title: str, values: Sequence[Any]) -> dict[str, Any]:
    """Names by falling count; unknown ones last."""
    plain = ["" if v is None or str(v) in BLANK else str(v) for v in values]
    order = [v for v, _ in sorted(Counter(plain).items(), key=lambda item: (-item[1], item[0])) if v]
    marks = ("circle", "diamond", "cross", "square")
    categories = [_category(v, f"c{k % CYCLE}", marks[k // CYCLE % len(marks)]) for k, v in enumerate(order)]
    place = {v: k for k, v in enumerate([*order, ""])}
    return _column(name, title, words.GROUP_LESION, [*categories, _category(words.UNKNOWN, "none")],
                   [place[v] for v in plain])


def _binned(values: np.ndarray, edges: Sequence[float], labels: Sequence[str]) -> tuple[list[Category], list[int]]:
    """Steps of a scale; what is not finite comes last."""
    steps = [_category(label, f"s{round(k * (STEPS - 1) / (len(labels) - 1))}") for k, label in enumerate(labels)]
    codes = np.searchsorted(np.array(edges[1:]), np.nan_to_num(values), side="right")
    codes[~np.isfinite(values)] = len(labels)
    return [*steps, _category(words.UNKNOWN, "none")], [int(k) for k in codes]


def _age(values: Sequence[Any]) -> dict[str, Any]:
    ages = np.array([np.nan if v is None else float(v) for v in values])
    labels = [f"{a}–{b - 1}" for a, b in zip(AGES, AGES[1:], strict=False)] + [f"{AGES[-1]}+"]
    categories, codes = _binned(ages, AGES, labels)
    return _column("age", words.AGE, words.GROUP_LESION, categories, codes,
                   shown=[None if np.isnan(a) else words.YEARS.format(age=a) for a in ages])


def _confidence(name: str, group: str, values: np.ndarray) -> dict[str, Any]:
    labels = [f"< {100 * SHARES[1]:.0f} %"] + [f"{100 * a:.0f}–{100 * b:.0f} %" for a, b in
                                               zip(SHARES[1:], (*SHARES[2:], 1.0), strict=True)]
    categories, codes = _binned(values.astype(float), SHARES, labels)
    return _column(name, words.CONFIDENCE, group, categories, codes, shown=[text.percent(float(v)) for v in values])


def _outcome(known: KnownLesions, arm: str) -> dict[str, Any]:
    codes = np.where(known.labels == "", 2, np.where(known.right(arm), 0, 1)).tolist()
    categories = [_category(words.RIGHT, "right"), _category(words.WRONG, "wrong", "diamond"),
                  _category(words.UNLABELLED, "none")]
    return _column(f"{arm}_outcome", words.OUTCOME, text.arm_name(arm), categories, codes)


def _compared(known: KnownLesions) -> dict[str, Any]:
    first, second = known.arms
    a, b = known.right(first), known.right(second)
    codes = np.where(known.labels == "", 4, np.where(a & b, 0, np.where(a, 1, np.where(b, 2, 3)))).tolist()
    categories = [_category(words.BOTH_RIGHT, "right"), *_only(known.arms),
                  _category(words.BOTH_WRONG, "wrong", "diamond"), _category(words.UNLABELLED, "none")]
    return _column("compared", words.COMPARED, words.GROUP_BOTH, categories, codes)


def _only(arms: Mapping[str, object]) -> list[Category]:
    return [_category(words.ONLY.format(arm=text.arm_name(arm)), tone)
            for arm, tone in zip(arms, ("first", "second"), strict=True)]
