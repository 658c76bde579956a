"""MODEL_CARD.md, written from meta.json and from nothing else.

In the spirit of Mitchell et al. 2019 (model cards), CLEAR Derm and TRIPOD+AI.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dermdemo import RESEARCH_NOTICE
from dermdemo.diagnoses import full_name
from dermdemo.models.checkpoint import CheckpointMeta
from dermdemo.models.stored_figures import (
    BaselineFigures,
    StoredFigures,
    StoredReconstruction,
    read_baseline,
    read_reconstruction,
    read_test,
)

CARD_FILE = "MODEL_CARD.md"
HAM10000_LICENCE = ("CC BY-NC-SA 4.0, inherited from HAM10000 (Tschandl, Rosendahl, Kittler 2018): research use, "
                    "attribution")
TINY_IMAGENET_LICENCE = "research use, inherited from Tiny-ImageNet-200, a subset of ImageNet-1k (ILSVRC)"
LIMITS = """## Intended use and limits

Research on representations of skin lesions, and teaching. {notice}

- HAM10000 carries no skin-tone labels and comes from two sites (Vienna, Queensland); performance on
  darker skin, other cameras, clinical (non-dermoscopic) photographs and other diagnoses is unknown.
- The copy used here is 200 x 150 px; larger inputs are upsampled views of it. Published figures on
  600 x 450 px originals are no like-for-like comparison.
- Probabilities are calibrated for the class frequencies of the calibration split, not for a clinic's.
"""


def data_licence(source: str) -> str:
    """Licence that weights inherit from the data set they were trained on."""
    name = source.lower()
    if "ham10000" in name:
        return HAM10000_LICENCE
    if "tiny_imagenet" in name or "tiny-imagenet" in name:
        return TINY_IMAGENET_LICENCE
    if name.startswith("synthetic"):
        return "no restriction: synthetic images made by this package"
    return f"as the data set '{source}' allows; check its terms before sharing"


def write_card(folder: Path, meta: CheckpointMeta) -> None:
    """Write the card beside meta.json."""
    (folder / CARD_FILE).write_text(render_card(meta), encoding="utf-8")


def render_card(meta: CheckpointMeta) -> str:
    """The card as Markdown."""
    sections = [f"# {meta.name}\n\n> {RESEARCH_NOTICE}\n", _identity(meta), _training(meta)]
    test = read_test(meta)
    if test is not None:
        sections += [_test(test, read_baseline(meta)), _per_class(test), _malignancy(test)]
    made = read_reconstruction(meta)
    if made is not None:
        sections.append(_reconstruction(made, meta.latent or 0))
    sections.append(LIMITS.format(notice=RESEARCH_NOTICE))
    return "\n".join(section for section in sections if section)


def _row(name: str, value: Any) -> str:
    return f"| {name} | {value} |"


def _identity(meta: CheckpointMeta) -> str:
    rows = [_row("kind", meta.kind if meta.arm is None else f"{meta.kind}, arm `{meta.arm}`"),
            _row("encoder", meta.encoder), _row("encoder's weights", meta.origin_text),
            _row("input", f"{meta.input.size} px, crop `{meta.input.crop}`, RGB")]
    if meta.latent:
        rows.append(_row("latent", f"{meta.latent} dimensions, Gaussian"))
    if meta.classes:
        rows.append(_row("classes", "; ".join(full_name(c) for c in meta.classes)))
        rows.append(_row("trained stages", f"last {meta.unfrozen_stages} of 4, and the head"))
    if meta.temperature is not None:
        rows.append(_row("temperature", f"{meta.temperature:.3f}, fitted on calib"))
    rows += [_row(f"borrowed {b.part}", f"`{b.checkpoint}`, SHA-256 `{b.sha256}`") for b in meta.base]
    rows += [_row(f"{part}.safetensors", f"SHA-256 `{sha}`") for part, sha in meta.files.items()]
    rows.append(_row("licence", meta.licence))
    return "\n".join(["| | |", "|---|---|", *rows, ""])


def _training(meta: CheckpointMeta) -> str:
    data, spent = meta.data, meta.spent
    lines = ["## Training", "", f"- Data: {data['name']}, {data['images']} images, {data['groups']} groups; "
             f"data hash `{data['hash'][:16]}`"
             + (f", split hash `{meta.split_hash[:16]}`" if meta.split_hash else ""),
             f"- Spent: {spent['epochs']} epochs (schedule {spent['schedule']}, px x epochs), "
             f"{spent['hours']:.2f} hours on {spent['hardware']}; seed {meta.seed}"
             + (f"; finished {spent['finished']}" if "finished" in spent else "")]
    val = meta.metrics.get("training", {}).get("val", {})
    lines += [f"- Validation at the end: {_figures(val)}", ""]
    return "\n".join(lines)


def _figures(values: Mapping[str, Any]) -> str:
    numbers = {k: v for k, v in values.items() if isinstance(v, (int, float))}
    return ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in numbers.items())


def _test(test: StoredFigures, baseline: BaselineFigures | None) -> str:
    """Test figures beside the pixel baseline, and in words who wins."""
    head = "| metric | this model (95 % interval) |"
    head += " PCA-64 of pixels + logistic regression |" if baseline else ""
    lines = [f"## Test split ({test.n_images} images of {test.n_lesions} lesions, read {test.readings} time"
             f"{'s' if test.readings != 1 else ''})", "", head, "|---|---|" + ("---|" if baseline else "")]
    for name, figure in test.figures.items():
        beside = ""
        if baseline:
            beside = f" {baseline.figures[name]:.3f} |" if name in baseline.figures else " |"
        lines.append(f"| {_metric(name)} | {figure} |{beside}")
    lines.append("")
    if baseline:
        lines += [_verdict(test, baseline), ""]
    return "\n".join(lines)


def _metric(name: str) -> str:
    return name.replace("_", " ").replace("auc", "AUC")


def _per_class(test: StoredFigures) -> str:
    """Every class against the rest, with n; empty where it was not stored."""
    if not test.per_class:
        return ""
    lines = ["### By class", "",
             "| class | images | lesions | sensitivity (95 % interval) | specificity (95 % interval) |",
             "|---|---|---|---|---|"]
    for c in test.per_class:
        lesions = "" if c.n_lesions is None else c.n_lesions
        lines.append(f"| {full_name(c.name)} | {c.n_images} | {lesions} | {c.sensitivity} | {c.specificity} |")
    return "\n".join([*lines, ""])


def _reconstruction(made: StoredReconstruction, latent: int) -> str:
    """Reconstruction beside PCA of the pixels, and in words who wins."""
    read = "" if not made.readings else f", read {made.readings} time{'s' if made.readings != 1 else ''}"
    lines = [f"## Reconstruction ({made.split} split: {made.n_images} images of {made.n_lesions} lesions{read})", "",
             "| code | PSNR in dB (95 % interval) | SSIM (95 % interval) |", "|---|---|---|"]
    named = ((f"this model, {latent} numbers", made.vae),
             (f"PCA of pixels, {made.components} numbers, fitted to {made.fitted} training images", made.pca),
             ("difference", made.difference))
    lines += [f"| {name} | {found['psnr']} | {found['ssim']} |" for name, found in named]
    lost = [name.upper() for name in made.lost]
    lines += ["", f"**It does not beat PCA of the pixels in {' and '.join(lost)}.**" if lost
              else "It beats PCA of the pixels in PSNR and SSIM.", ""]
    lines += [f"KL {made.kl:.1f} nats per image; {made.active_units} of {latent} units active.", ""]
    if made.identification:
        lines += ["Share of reconstructions nearest to their own original (mean squared error), among lesions of the "
                  "same class, one image each:", "", "| class | lesions | this model | PCA of pixels |",
                  "|---|---|---|---|"]
        lines += [f"| {full_name(i.label)} | {i.n} | {i.vae:.2f} | {i.pca:.2f} |" for i in made.identification]
        lines.append("")
    return "\n".join(lines)


def _malignancy(test: StoredFigures) -> str:
    """Malignant against benign at the thresholds fixed on validation; empty where they were not stored."""
    if not test.operating_points:
        return ""
    lines = ["### Malignant or pre-malignant against benign", "",
             f"{test.n_malignant} malignant or pre-malignant images, {test.n_benign} benign; thresholds fixed on the "
             "validation split.", "",
             "| specificity asked for | threshold | sensitivity (95 % interval) | specificity reached "
             "(95 % interval) |", "|---|---|---|---|"]
    lines += [f"| {p.target_specificity:.2f} | {p.threshold:.3f} | {p.sensitivity} | {p.specificity} |"
              for p in test.operating_points]
    return "\n".join([*lines, ""])


def verdict(meta: CheckpointMeta) -> str:
    """Whether a classifier beats the pixel baseline, in words; empty where it was not evaluated with --save."""
    test, baseline = read_test(meta), read_baseline(meta)
    return _verdict(test, baseline).strip("*") if test and baseline else ""


def _verdict(test: StoredFigures, baseline: BaselineFigures) -> str:
    """Whether the model beats the baseline; a loss, and what an interval leaves open, are said as plainly."""
    pairs = {_metric(n): (test.figures[n], baseline.figures[n])
             for n in ("balanced_accuracy", "macro_auc") if n in test.figures and n in baseline.figures}
    lost = [name for name, (ours, floor) in pairs.items() if ours.estimate is None or ours.estimate <= floor]
    if lost:
        return f"**This arm does not beat the pixel baseline in {' and '.join(lost)}.**"
    unclear = [name for name, (ours, floor) in pairs.items() if ours.low is not None and ours.low <= floor]
    if unclear:
        clear = [name for name in pairs if name not in unclear]
        beats = f" It beats it in {' and '.join(clear)}." if clear else ""
        return (f"The arm is above the pixel baseline in {' and '.join(unclear)}, but not clearly: the interval "
                f"includes the baseline's figure.{beats}")
    return f"The arm beats the pixel baseline in {' and '.join(pairs)}."
