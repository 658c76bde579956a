"""How good the arms are on test: figures beside the pixel baseline, who beats what, sensitivity by class."""

from __future__ import annotations

from dermdemo.diagnoses import full_name
from dermdemo.models.stored_figures import ClassFigures, Figure
from dermdemo.ui import text
from dermdemo.ui.evidence.gather import Evidence, tones
from dermdemo.ui.evidence.parts import figure_table, in_sentence, interval_bar, note, number, ranged, region, section
from dermdemo.ui.figures import escape
from dermdemo.ui.wording import models as words


def metrics(evidence: Evidence) -> str:
    """Test figures of all arms beside the pixel baseline, and in words who beats what."""
    if not evidence.tests:
        return section(words.METRICS_TITLE, f"<p>{escape(words.METRICS_NONE)}</p>", anchor="figures")
    first = next(iter(evidence.tests.values()))
    intro = words.METRICS_N.format(images=number(first.n_images), lesions=number(first.n_lesions),
                                   read=_readings(evidence))  # fmt: skip
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in verdicts(evidence))
    floor = evidence.baseline
    foot = note(words.BASELINE_NOTE.format(description=floor.description)) if floor else ""
    body = f'{note(intro)}{_tiles(evidence)}<ul class="dd-said">{said}</ul>{_metric_table(evidence)}{foot}'
    return section(words.METRICS_TITLE, body, anchor="figures")


def _readings(evidence: Evidence) -> str:
    often = {arm: test.readings for arm, test in evidence.tests.items() if test.readings != 1}
    said = [words.READ_OFTEN.format(n=n, arm=in_sentence(text.arm_name(arm))) for arm, n in often.items()]
    return " ".join(said) or words.READ_ONCE


def _tiles(evidence: Evidence) -> str:
    """The one figure to remember, large, with its interval on a scale from 0 to 1."""
    tone = tones(tuple(evidence.arms))
    found = [(text.arm_name(arm), tone[arm], test.figures.get(words.HEADLINE))
             for arm, test in evidence.tests.items()]  # fmt: skip
    if evidence.baseline and words.HEADLINE in evidence.baseline.figures:
        found.append((words.BASELINE_NAME, "plain", Figure(estimate=evidence.baseline.figures[words.HEADLINE])))
    tiles = "".join(
        f'<li class="dd-tile is-{t}"><span>{escape(name)}</span><b>{f.estimate:.3f}</b>{interval_bar(f)}'
        f"<small>{escape(_range(f))}</small></li>"
        for name, t, f in found
        if f is not None and f.estimate is not None
    )
    first = next(iter(evidence.tests.values()))
    k = sum(c.n_images > 0 for c in first.per_class) or len(next(iter(evidence.arms.values())).classes)
    label = f"{words.HEADLINE_LABEL} ({words.CHANCE.format(value=f'{1 / k:.3f}')})" if k else words.HEADLINE_LABEL
    return f'<p class="dd-tiles-label">{escape(label)}</p><ul class="dd-tiles">{tiles}</ul>'


def _range(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return words.NO_INTERVAL
    return f"{figure.low:.3f} {words.TO} {figure.high:.3f}"


def verdicts(evidence: Evidence) -> list[str]:
    """One sentence per arm and headline metric on whether it beats the pixels."""
    floor, said = evidence.baseline, []
    for arm, test in evidence.tests.items():
        for name in ("balanced_accuracy", "macro_auc"):
            ours = test.figures.get(name)
            if floor is None or ours is None or ours.estimate is None or name not in floor.figures:
                continue
            sentence = _verdict(ours, floor.figures[name])
            said.append(sentence.format(arm=in_sentence(text.arm_name(arm)), metric=metric_name(name),
                                        ours=f"{ours.estimate:.3f}", floor=f"{floor.figures[name]:.3f}",
                                        n=number(test.n_images)))  # fmt: skip
    return said


def _verdict(ours: Figure, floor: float) -> str:
    """The sentence that fits a figure and the floor."""
    estimate = ours.estimate or 0.0
    low = estimate if ours.low is None else ours.low
    high = estimate if ours.high is None else ours.high
    if estimate > floor:
        return words.BEATS if low > floor else words.ABOVE
    return words.LOSES if high < floor or low == high else words.BELOW


def metric_name(name: str) -> str:
    """A metric inside a sentence."""
    return in_sentence(words.METRICS.get(name, (name, ""))[0].removesuffix(" ↓"))


def _metric_table(evidence: Evidence) -> str:
    arms = list(evidence.tests)
    head = [words.METRIC_HEAD, *map(text.arm_name, arms)] + ([words.BASELINE_NAME] if evidence.baseline else [])
    rows = []
    for name, (label, about) in words.METRICS.items():
        found = [test.figures.get(name) for test in evidence.tests.values()]
        if not any(found):
            continue
        cells = [ranged(f) for f in found]
        if evidence.baseline:
            floor = evidence.baseline.figures.get(name)
            cells.append("–" if floor is None else f"<b>{floor:.3f}</b>")
        about = majority(evidence) or about if name == "accuracy" else about
        rows.append((f"{escape(label)}<small>{escape(about)}</small>", cells))
    return region(words.METRICS_TITLE, figure_table(head, rows))


def majority(evidence: Evidence) -> str:
    """What always naming the most frequent class would reach in accuracy; empty where counts are not stored."""
    counted = next(iter(evidence.tests.values())).per_class
    if not counted:
        return ""
    largest = max(counted, key=lambda c: c.n_images)
    share = largest.n_images / sum(c.n_images for c in counted)
    return words.MAJORITY.format(name=in_sentence(full_name(largest.name)), value=f"{share:.3f}")


def classes(evidence: Evidence) -> str:
    """Sensitivity by class with n; nothing where it was not stored."""
    by_arm = {arm: test.per_class for arm, test in evidence.tests.items() if test.per_class}
    if not by_arm:
        return ""
    tone, first = tones(tuple(evidence.arms)), next(iter(by_arm.values()))
    items = []
    for counted in first:
        found = {arm: next((c for c in stored if c.name == counted.name), None) for arm, stored in by_arm.items()}
        bars = "".join(_class_bar(arm, tone[arm], c) for arm, c in found.items() if c is not None)
        items.append(f"<li><header><b>{escape(full_name(counted.name))}</b><span>{escape(_class_n(counted))}</span>"
                     f"</header>{bars}</li>")
    return section(words.CLASSES_TITLE, f'<ul class="dd-recall">{"".join(items)}</ul>{note(words.CLASSES_NOTE)}',
                   anchor="classes")


def _class_n(found: ClassFigures) -> str:
    if found.n_lesions is None:
        return words.CLASS_N.format(images=number(found.n_images))
    return words.CLASS_N_LESIONS.format(images=number(found.n_images), lesions=number(found.n_lesions))


def _class_bar(arm: str, tone: str, found: ClassFigures) -> str:
    specificity = found.specificity.estimate
    said = "" if specificity is None else words.SPECIFICITY.format(value=f"{specificity:.2f}")
    value = "–" if found.sensitivity.estimate is None else f"{found.sensitivity.estimate:.2f}"
    return (
        f'<div class="dd-recall-row is-{tone}"><span>{escape(text.arm_name(arm))}</span>'
        f'{interval_bar(found.sensitivity)}<b title="{escape(str(found.sensitivity))}">{value}</b>'
        f"<small>{escape(said)}</small></div>"
    )
