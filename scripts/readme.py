"""Write what README.md says of shipped checkpoints and of the study: `python -m scripts.readme [--check]`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from dermdemo.evaluation.seeds.facts import StudyFacts
from dermdemo.evaluation.seeds.page import figure, grid
from dermdemo.evaluation.seeds.summary import COLUMNS, load_results, summarise
from dermdemo.evaluation.seeds.table import Table
from dermdemo.models.card import verdict
from dermdemo.models.checkpoint import META_FILE, CheckpointMeta, load_meta
from dermdemo.models.stored_figures import read_reconstruction

ROOT = Path(__file__).resolve().parent.parent
STUDY = ROOT / "docs" / "study"  # table, facts and figures of docs/study.md
RECORDS = ROOT / "assets" / "study"  # what its runs left behind, without weights
FIGURES = ("balanced_accuracy", "macro_auc", "accuracy", "malignant_auc")


def shipped(store: Path) -> dict[str, CheckpointMeta]:
    """Metadata of every checkpoint in a store, by name."""
    metas = {}
    for path in sorted(store.glob(f"*/{META_FILE}")):
        if path.parent.name != "atlas":
            metas[path.parent.name] = load_meta(path.parent)
    return metas


def results(metas: dict[str, CheckpointMeta]) -> str:
    """Markdown: test figures of the arms beside the pixel baseline, then the VAE and the encoders."""
    arms = {n: m for n, m in metas.items() if "test" in m.metrics}
    if not arms:
        return "No checkpoint with test figures is shipped yet.\n"
    any_test = next(iter(arms.values())).metrics["test"]
    head = " | ".join(f.replace("_", " ").replace("auc", "AUC") for f in FIGURES)
    lines = [f"HAM10000, test split by lesion: {any_test['n_images']} images of {any_test['n_lesions']} lesions, "
             "95 % intervals by bootstrap over lesions.", "",
             f"| model | {head} |", "|---|" + "---|" * len(FIGURES)]
    for name, meta in arms.items():
        entries = [meta.metrics["test"]["figures"].get(f) for f in FIGURES]
        cells = [f"{e['estimate']:.3f} ({e['low']:.3f} to {e['high']:.3f})" if e else "" for e in entries]
        lines.append(f"| [`{name}`](checkpoints/{name}/MODEL_CARD.md) | " + " | ".join(cells) + " |")
    baseline = next(iter(arms.values())).metrics["baseline"]
    cells = [f"{baseline[f]:.3f}" if f in baseline else "" for f in FIGURES]
    lines += [f"| {baseline['description']} | " + " | ".join(cells) + " |", ""]
    lines += [f"- `{name}`: {said[0].lower()}{said[1:]}" for name, meta in arms.items() if (said := verdict(meta))]
    lines += [_provenance(name, meta) for name, meta in metas.items()]
    return "\n".join([*lines, ""])


def _provenance(name: str, meta: CheckpointMeta) -> str:
    spent = meta.spent
    text = f"- `{name}`: {meta.origin_text}; {spent['hours']:.2f} hours on {spent['hardware']}"
    val = meta.metrics["training"]["val"]
    if meta.kind in ("vae", "ae"):
        text += f"; validation PSNR {val['psnr']:.2f} dB, SSIM {val['ssim']:.3f}, KL {val['kl']:.0f} nats"
        made = read_reconstruction(meta)
        if made is not None:
            text += "".join(
                f"; {made.split} {name.upper()} {made.vae[name].estimate:.{digits}f}{unit} against "
                f"{made.pca[name].estimate:.{digits}f}{unit} for PCA-{made.components} of the pixels"
                for name, digits, unit in (("psnr", 2, " dB"), ("ssim", 3, "")))
    if meta.kind == "ssl":
        text += f"; validation pairs found {val['accuracy']:.3f}, effective rank {val['effective_rank']:.0f}"
    if meta.kind == "encoder":
        text += f"; hold-out top-1 {val['accuracy']:.3f}"
    return text + "."


def study(table: Table, facts: StudyFacts) -> str:
    """Markdown: means over seeds of every arm, and what they say about the claim."""
    found = summarise(table, facts)
    rows = [(f"{line.arm} minus {line.reference}" if line.reference else f"`{line.arm}`",
             *(figure(row, signed=signed) for row, signed in line.cells)) for line in found.lines]
    n = len(facts.finished_seeds)
    return "\n".join([
        f"Means of {n} seed{'s' if n != 1 else ''} ({len(facts.models)} models, schedule {facts.config['schedule']}, "
        f"stage learning rate {facts.config['stage_lr']}), 95 % intervals over {facts.drawn}, test "
        f"{facts.test_read}. The whole [page](docs/study.md) has every figure.", "",
        *grid(("arm", *COLUMNS), rows), "",
        *(line for title, said in found.said.items() for line in (f"{title}:", "", *(f"- {s}" for s in said), ""))])


def updated(text: str, block: str, name: str = "results") -> str:
    """`text` with the block of that name replaced."""
    return re.sub(rf"(<!-- {name}:.*?-->\n).*?(<!-- /{name} -->)", lambda m: f"{m[1]}{block}{m[2]}", text, flags=re.S)


def main() -> int:
    """Rewrite README.md, or with --check say whether it is up to date."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    new = updated(text, results(shipped(ROOT / "checkpoints")))
    new = updated(new, study(*load_results(STUDY)), "study")
    if "--check" in sys.argv[1:]:
        return int(new != text)
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
