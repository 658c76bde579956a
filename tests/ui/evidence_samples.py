"""A store with a VAE, both arms with test figures, and their study: everything the Models tab can show."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from dermdemo.evaluation.assess import stored_figures
from dermdemo.evaluation.malignancy import set_thresholds
from dermdemo.evaluation.report import ReportIdentity, build_report
from dermdemo.evaluation.seeds.report import aggregate
from dermdemo.evaluation.seeds.sampling import Resampling
from dermdemo.evaluation.seeds.summary import FACTS_FILE, TABLE_FILE
from dermdemo.evaluation.seeds.table import to_csv
from dermdemo.evaluation.study import compare_runs
from dermdemo.evaluation.study_record import STUDY_FOLDER, save_study
from dermdemo.models.card import write_card
from dermdemo.models.checkpoint import CheckpointMeta, load_meta, rewrite_meta, save_checkpoint, vae_parts
from dermdemo.ui.evidence.gather import Evidence, gather
from tests.evaluation.seeds.studies import Made
from tests.evaluation.seeds.studies import make_study as make_seeds
from tests.evaluation.study_store import Study, make_study
from tests.evaluation.test_study import write_predictions
from tests.models.tiny import CLASSES, meta, vae

SPENT = {"epochs": 12, "schedule": "32x12", "hours": 0.5, "hardware": "CPU, 1 threads", "finished": "2026-11-24"}
DATA = {"name": "lesions", "images": 1200, "groups": 900, "hash": "d" * 64}
BASELINE = {"balanced_accuracy": 0.55, "macro_auc": 0.6, "accuracy": 0.5, "description": "PCA-64 of 32 px pixels"}




def _figures(psnr: float, ssim: float) -> dict[str, dict[str, float]]:
    return {"psnr": {"estimate": psnr, "low": psnr - 0.1, "high": psnr + 0.1},
            "ssim": {"estimate": ssim, "low": ssim - 0.01, "high": ssim + 0.01}}


RECONSTRUCTION = {
    "split": "test", "n_images": 1234, "n_lesions": 987, "readings": 1, "components": 6, "fitted": 4000, "kl": 21.4,
    "active_units": 5, "vae": _figures(27.3, 0.77), "pca": _figures(32.8, 0.74), "difference": _figures(-5.5, 0.03),
    "identification": [{"label": "mel", "n": 100, "vae": 0.91, "pca": 0.99}],
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Scored:
    """120 images of 60 lesions: labels, logits with a signal on the true class, groups."""

    y: np.ndarray
    logits: np.ndarray
    groups: np.ndarray


def scored(signal: float) -> Scored:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(120) % 3, 1)
    logits = rng.normal(size=(120, 3))
    logits[np.arange(120), y] += signal
    return Scored(y, logits, np.array([f"L{k % 60}" for k in range(120)]))


def make_store(root: Path) -> Study:
    """Runs, store, test figures, cards and study.json."""
    study = make_study(root)
    for run, signal in ((study.vae, 0.2), (study.imagenet, 3.0)):
        data = scored(signal)
        write_predictions(run, data)
        folder = study.store / run.name
        rewrite_meta(folder, with_figures(load_meta(folder), data))
        write_card(folder, load_meta(folder))
    save_checkpoint(study.store / "vae", meta("vae", latent=6, spent=SPENT, data=DATA,
                                              metrics={"reconstruction": RECONSTRUCTION}), vae_parts(vae()))
    write_card(study.store / "vae", load_meta(study.store / "vae"))
    table = compare_runs(study.vae, study.imagenet, n_resamples=50)
    save_study(study.store, study.vae, study.imagenet, table)
    write_seeds(study.store)
    return study


def write_seeds(store: Path) -> None:
    """The results of a study over two seeds with a control, beside the checkpoints."""
    made = {"vae": Made(signal=1.0, train_accuracy=0.7, loss_gap=0.05), "random": Made(signal=0.2),
            "imagenet": Made(signal=2.5, train_accuracy=0.9, loss_gap=0.4, accuracy_gap=0.2)}
    rows, facts = aggregate(make_seeds(made, seeds=(0, 1)), Resampling(n_resamples=40))
    (store / STUDY_FOLDER).mkdir(exist_ok=True)
    (store / STUDY_FOLDER / TABLE_FILE).write_text(to_csv(rows))
    (store / STUDY_FOLDER / FACTS_FILE).write_text(facts.to_json())


def with_figures(before: CheckpointMeta, data: Scored) -> CheckpointMeta:
    probs = np.exp(data.logits) / np.exp(data.logits).sum(axis=1, keepdims=True)
    identity = ReportIdentity(name=before.name, sha256=before.sha256, source="lesions", split="test", split_hash="s")
    report = build_report(data.y, data.logits, CLASSES, data.groups, identity=identity, n_resamples=50,
                          thresholds=set_thresholds(data.y, probs, CLASSES))
    metrics = {**before.metrics, "test": stored_figures(report, 1).to_dict(), "baseline": BASELINE}
    return dataclasses.replace(before, metrics=metrics, spent=SPENT, data=DATA, temperature=1.4)


def evidence_of(store: Path, **changes: Any) -> Evidence:
    arms = {arm: load_meta(store / f"{arm}-arm") for arm in ("vae", "imagenet")}
    return dataclasses.replace(gather(store, load_meta(store / "vae"), arms), **changes)


class Checked(HTMLParser):
    """Elements in balance, ids that are unique, and the text between the tags."""

    VOID = frozenset({"img", "br", "path", "polyline", "circle"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == [], f"not closed: {self.open}"
        assert len(self.ids) == len(set(self.ids)), "an id stands twice"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for key, value in attrs if key == "id" and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


class Drawn:
    """Stands in for gradio in a tab that only draws: what it was given, in order; a listener would fail."""

    def __init__(self) -> None:
        self.values: list[str] = []

    def HTML(self, value: str, **options: object) -> None:
        self.values.append(value)
