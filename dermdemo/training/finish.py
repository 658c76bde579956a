"""After Stage II: temperature, prediction sets and thresholds, from the weights as they were stored."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from dermdemo.config import DeviceName
from dermdemo.data.sources import LesionTable
from dermdemo.data.splits import Split
from dermdemo.errors import DataError
from dermdemo.evaluation.calibration import apply_temperature, fit_temperature
from dermdemo.evaluation.conformal import fit_conformal
from dermdemo.evaluation.malignancy import malignant_indices, set_thresholds
from dermdemo.evaluation.predict import Predictions, predict
from dermdemo.evaluation.records import encode
from dermdemo.evaluation.report import ReportIdentity, build_report
from dermdemo.models.card import write_card
from dermdemo.models.checkpoint import CheckpointMeta, load_classifier, rewrite_meta
from dermdemo.training.events import Evaluated, EventLog


def finish_arm(checkpoint: Path, run: Path, table: LesionTable, split: Split, *, device: DeviceName) -> None:
    """Calibrate on calib, fix thresholds on val, evaluate on val, and store all of it with the checkpoint.

    Test is not read here. Where calib is too small for a temperature the model ships uncalibrated and
    says so (temperature stays None).
    """
    model = load_classifier(checkpoint)
    val = predict(model, table, split.rows("val"), device=device)
    val.save(run / "val_predictions.npz")
    meta = _calibrate(model.meta, predict(model, table, split.rows("calib"), device=device))
    temperature = meta.temperature or 1.0
    if malignant_indices(meta.classes):
        found = set_thresholds(val.y, apply_temperature(val.logits, temperature), meta.classes)
        meta = dataclasses.replace(meta, thresholds={str(t.target_specificity): encode(t) for t in found})
    identity = ReportIdentity(name=checkpoint.name, sha256=meta.sha256, source=table.name, split="val",
                              split_hash=split.hash)
    report = build_report(val.y, val.logits, meta.classes, val.groups, identity=identity, temperature=temperature,
                          n_resamples=200)
    figures = {k: i.estimate for k, i in report.intervals.items() if ":" not in k}
    meta = dataclasses.replace(meta, metrics={**meta.metrics, "val": figures})
    rewrite_meta(checkpoint, meta)
    write_card(checkpoint, meta)
    EventLog(run).write(Evaluated(split="val", metrics=figures))


def _calibrate(meta: CheckpointMeta, calib: Predictions) -> CheckpointMeta:
    """`meta` with temperature and prediction-set thresholds, each only where calib is large enough for it."""
    try:
        temperature = fit_temperature(calib.y, calib.logits).value
    except DataError as error:
        print(f"Not calibrated: {error}", file=sys.stderr)
        return meta
    meta = dataclasses.replace(meta, temperature=temperature)
    try:
        fitted = fit_conformal(calib.y, apply_temperature(calib.logits, temperature), meta.classes, calib.groups)
    except DataError as error:
        print(f"No prediction sets: {error}", file=sys.stderr)
        return meta
    return dataclasses.replace(meta, conformal=encode(fitted))
