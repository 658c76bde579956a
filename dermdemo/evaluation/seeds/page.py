"""study.md: written from the table and the facts alone; no figure stands here that is not a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dermdemo import RESEARCH_NOTICE
from dermdemo.evaluation import paper
from dermdemo.evaluation.report_text import DASH
from dermdemo.evaluation.scores import LOWER_IS_BETTER
from dermdemo.evaluation.seeds import claim
from dermdemo.evaluation.seeds.claim import NAMES, sign
from dermdemo.evaluation.seeds.facts import StudyFacts
from dermdemo.evaluation.seeds.gaps import BEST, FIRST, INITIAL, LAST, MATCHED, matched_to
from dermdemo.evaluation.seeds.page_limits import how_made, limits
from dermdemo.evaluation.seeds.table import PUBLISHED, Row, Table, versus
from dermdemo.evaluation.seeds.unseen import SHARE
from dermdemo.evaluation.seeds.variants import AGAINST, CLAIMED, REFERENCES, TRAINED_REFERENCES, compared_with

TEST_METRICS = ("balanced_accuracy", "macro_auc", "malignant_auc", "accuracy", "macro_f1", "mcc")
PROBABILITY_METRICS = ("nll", "brier", "ece", "classwise_ece")
CLAIM = ("The claim: an encoder pretrained as a VAE on lesions, without labels, overfits less than one pretrained on "
         "natural images, with labels.")
FIGURES = {
    "curves.png": "Loss and accuracy of each arm, train dashed and validation solid: mean over seeds, band from "
                  "lowest to highest seed.",
    "gaps.png": "Both gaps along the epochs: mean over seeds, band from lowest to highest seed.",
    "scores.png": "Balanced accuracy on test against the loss gap at the last epoch, with 95 % intervals.",
}  # fmt: skip


def render(table: Table, facts: StudyFacts, assets: str) -> str:
    """The page; figures and table are linked in the folder `assets` beside it."""
    parts = [_head(table, facts, assets), _verdict(table, facts), _paper(table), _unseen(table, facts),
             _gaps(table, facts), _differences(table, facts), _pictures(assets), _signatures(table, facts),
             limits(facts), how_made(facts)]
    return "\n\n".join("\n".join(p) for p in parts if p) + "\n"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(r) + " |" for r in rows)]


def figure(row: Row | None, *, signed: bool = False, unit: str = "") -> str:
    """``0.505 (0.455 to 0.555)``; a lone figure where there is no interval, a dash where there is none."""
    if row is None or row.value is None:
        return DASH
    digits = 1 if unit else 3

    def text(value: float) -> str:
        return f"{value:+.{digits}f}{unit}" if signed else f"{value:.{digits}f}{unit}"

    if row.low is None or row.high is None:
        return text(row.value)
    return f"{text(row.value)} ({text(row.low)} to {text(row.high)})"


def _name(metric: str) -> str:
    text = NAMES.get(metric, metric.replace("_", " "))
    return f"{text} ↓" if metric in LOWER_IS_BETTER or metric == "loss" else text


def _head(table: Table, facts: StudyFacts, assets: str) -> list[str]:
    n = len(facts.finished_seeds)
    test = next((r for r in table.rows if r.split == "test" and r.metric == "accuracy"), None)
    images = f"{test.n_images} images of {test.n_lesions} lesions" if test else "no image"
    intervals = f"95 % intervals by bootstrap over {facts.drawn}"
    intervals += "" if n > 1 else ": they say nothing of how much another seed would change"
    return [
        f"# The study with {n} seed{'s' if n != 1 else ''}", "", f"> {RESEARCH_NOTICE}", "",
        f"Written by `python -m dermdemo study --report` from [the table]({assets}/results.csv) and "
        f"[the facts]({assets}/results.json): do not edit. {facts.data}, split by lesion; test: {images}, "
        f"{facts.test_read}; {intervals}, {facts.n_resamples} resamples. Schedule "
        f"{facts.config['schedule']} (pixels x epochs), all epochs trained, the last one kept."]


def _verdict(table: Table, facts: StudyFacts) -> list[str]:
    rows = [(a.question, a.answer, figure(a.row, signed=True)) for a in claim.answers(table)]
    arms = tuple(facts.arms)
    found = [*claim.conclusion(table), *claim.constant(table, arms)]
    return ["## What our data say about the claim", "",
            " ".join([CLAIM, *stand_in(facts)]), "",
            *(f"- {s}" for s in (*found, *claim.controls(table, arms), *claim.other_tasks(table, arms))), "",
            *grid((f"`{CLAIMED}` against `{AGAINST}`", "answer", f"{CLAIMED} minus {AGAINST}"), rows), "",
            "An answer needs an interval that leaves 0 out. The intervals are not corrected for their number: of 20 "
            "comparisons without any difference one is expected to leave 0 out."]


def stand_in(facts: StudyFacts) -> list[str]:
    """A sentence where the arm on natural images does not start from weights such as the paper used."""
    if not any(m.arm == AGAINST and paper.STAND_IN in m.origin for m in facts.models):
        return []
    return [f"The natural-image arm here (`{AGAINST}`) starts from a stand-in, not from ImageNet-1k weights as the "
            "paper's: what those would do, our data do not say."]


def _paper(table: Table) -> list[str]:
    lines = []
    for label, split, metric in (("validation loss", "val", "loss"), ("validation accuracy", "val", "accuracy"),
                                 ("train accuracy", "train", "accuracy")):
        for words, scope, name, unit in ((", initial", INITIAL, metric, ""), (", after epoch 1", FIRST, metric, ""),
                                         (", final", LAST, metric, ""),
                                         (", change", LAST, f"{metric}_change_pct", " %")):
            theirs = [figure(table.find(p.name, split, name, scope, PUBLISHED), signed=bool(unit), unit=unit)
                      for p in paper.PAPER_ARMS]
            ours = [figure(table.find(a, split, name, scope), signed=bool(unit), unit=unit)
                    for a in (CLAIMED, AGAINST)]
            lines.append((label + words, *theirs, *ours))
    for metric in ("loss_gap", "accuracy_gap"):
        ours = [figure(table.find(a, "train-val", metric, LAST), signed=True) for a in (CLAIMED, AGAINST)]
        lines.append((f"{NAMES[metric]}, final", DASH, DASH, *ours))
    lines.append(("gap as the paper states it", *(p.gap for p in paper.PAPER_ARMS), DASH, DASH))
    head = ("", *(p.name for p in paper.PAPER_ARMS), f"ours: `{CLAIMED}`", f"ours: `{AGAINST}`")
    return ["## The paper's table beside ours", "", *grid(head, lines), "", *(f"- {c}" for c in paper.CAVEATS)]


def _unseen(table: Table, facts: StudyFacts) -> list[str]:
    arms = tuple(facts.arms)

    def block(metrics: Sequence[str], suffix: str = "") -> list[str]:
        rows = [(f"`{a}`", *(figure(table.find(a, "test", m + suffix)) for m in metrics)) for a in arms]
        return grid(("arm", *map(_name, metrics)), rows)

    classes = [s for s in table.scopes("test", "sensitivity") if s != "all"]
    n = {s: next(r for r in table.rows if r.metric == "sensitivity" and r.scope == s) for s in classes}
    head = [f"{s.removeprefix('class: ')} ({n[s].n_images} of {n[s].n_lesions})" for s in classes]
    sensitivity = [(f"`{a}`", *(figure(table.find(a, "test", "sensitivity", s)) for s in classes)) for a in arms]
    kinds = [(f"`{a}`", words) for a, words in facts.arms.items()]
    as_trained, calibrated = block(PROBABILITY_METRICS), block(PROBABILITY_METRICS, "_calibrated")
    return ["## Absolute figures on unseen lesions", "", *grid(("arm", "what it is"), kinds), "",
            *block(TEST_METRICS), "", "Probabilities as trained (temperature 1):", "", *as_trained, "",
            "With each model's own temperature, fitted on calib:", "", *calibrated, "",
            "Sensitivity by class (images of lesions):", "", *grid(("arm", *head), sensitivity),
            *_operating(table, facts)]


def _operating(table: Table, facts: StudyFacts) -> list[str]:
    scopes = table.scopes("test", "malignant_sensitivity")
    if not scopes:
        return []
    rows = [(f"`{a}`", *(figure(table.find(a, "test", m, s)) for s in scopes
                         for m in ("malignant_sensitivity", "malignant_specificity"))) for a in facts.networks]
    head = [f"{kind} at {s}" for s in scopes for kind in ("sensitivity", "specificity")]
    return ["", "Malignant against benign, thresholds fixed on val:", "", *grid(("arm", *head), rows)]


def _gaps(table: Table, facts: StudyFacts) -> list[str]:
    out = ["## Gaps, beside the figures they come from", "",
           "Accuracy gap = train - validation accuracy; loss gap = validation - train loss (focal). A gap says "
           "nothing by itself: a constant predictor has none, and a model that fits little has little."]
    scopes = [("At the last epoch", LAST), ("At the epoch with the lowest validation loss", BEST)]
    scopes += [(f"Where the training accuracy first reaches the lower of its own final one and that of `{r}`",
                matched_to(r)) for r in TRAINED_REFERENCES if r in facts.arms]
    columns = (("train", "accuracy"), ("val", "accuracy"), ("train-val", "accuracy_gap"), ("train", "loss"),
               ("val", "loss"), ("train-val", "loss_gap"))
    for words, scope in scopes:
        rows = []
        for arm in facts.arms:
            found = [table.find(arm, split, metric, scope) for split, metric in columns]
            if any(found):
                epoch = next((f"{r.epoch:.1f}" for r in found if r and r.epoch is not None), DASH)
                rows.append((f"`{arm}`", epoch, *(figure(r, signed=s == "train-val") for r, (s, _) in
                                                  zip(found, columns, strict=True))))
        head = ("arm", "epoch", *(m.replace("_", " ") if s == "train-val" else f"{s} {m}" for s, m in columns))
        out += ["", f"{words}:", "", *grid(head, rows)]
    return out


def _differences(table: Table, facts: StudyFacts) -> list[str]:
    out = ["## Paired differences", "",
           "Arm minus reference, on the same lesions and with the same seeds paired. **Bold**: the interval leaves 0 "
           "out."]
    columns = [("test", m, "all") for m in ("balanced_accuracy", "macro_auc", "malignant_auc", "nll")]
    columns += [("train-val", m, s) for s in (LAST, MATCHED) for m in ("loss_gap", "accuracy_gap")]
    for reference in (r for r in REFERENCES if r in facts.arms):
        rows = []
        for arm in compared_with(reference, tuple(facts.arms)):
            found = [table.find(versus(arm, reference), *c) for c in columns]
            if any(found):
                rows.append((f"`{arm}`", *(_bold(r) for r in found)))
        if rows:
            head = ("arm", *(_name(m) + ("" if s == "all" else f", {s}") for _, m, s in columns))
            out += ["", f"Against `{reference}`:", "", *grid(head, rows)]
    return out


def _bold(row: Row | None) -> str:
    text = figure(row, signed=True)
    return f"**{text}**" if sign(row) in ("lower", "higher") else text


def _pictures(assets: str) -> list[str]:
    shown = [("", f"![{words}]({assets}/{name})", "", words) for name, words in FIGURES.items()]
    return ["## Curves", *(line for lines in shown for line in lines)]


def _signatures(table: Table, facts: StudyFacts) -> list[str]:
    kinds = table.scopes("train-val", "signature")
    rows = []
    for arm in facts.networks:
        models = [m for m in facts.models if m.arm == arm]
        counts = [sum(r.value == 1.0 for r in table.rows if (r.arm, r.metric, r.scope) == (arm, "signature", k))
                  for k in kinds]
        rows.append((f"`{arm}`", *(f"{c} of {len(models)}" for c in counts), figure(table.find(arm, "test", SHARE))))
    head = ("arm", *kinds, "test images given the most frequent class")
    texts = [f"- `{m.arm}`, seed {m.seed}: {' '.join(m.signatures)}" for m in facts.models]
    return ["## Failure signatures", "", "Runs whose curves show it:", "", *grid(head, rows), "", *texts]
