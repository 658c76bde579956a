"""The report: completeness, round trip, text, and honesty about what it rests on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dermdemo.diagnoses import HAM10000_CLASSES
from dermdemo.errors import DataError
from dermdemo.evaluation.calibration import apply_temperature
from dermdemo.evaluation.conformal import fit_conformal
from dermdemo.evaluation.metrics import compute_metrics
from dermdemo.evaluation.report import EvaluationReport, ReportIdentity, build_report

IDENTITY = ReportIdentity(
    name="vae-256", sha256="0123456789abcdef" * 4, source="HAM10000", split="test", split_hash="fedc" * 16
)


@pytest.fixture(scope="module")
def full(make_scored):
    test, val, calib = (make_scored(300, 7, seed=s) for s in (1, 2, 3))
    sets = fit_conformal(calib.y, apply_temperature(calib.logits, 1.2), HAM10000_CLASSES, calib.groups)
    return build_report(
        test.y,
        test.logits,
        HAM10000_CLASSES,
        test.groups,
        identity=IDENTITY,
        temperature=1.2,
        val=(val.y, val.logits),
        conformal=sets,
        n_resamples=50,
    )


def test_the_report_holds_the_metrics_at_its_temperature(full, make_scored):
    d = make_scored(300, 7, seed=1)
    m = compute_metrics(d.y, apply_temperature(d.logits, 1.2), HAM10000_CLASSES, d.groups)
    assert full.metrics.nll == m.nll
    assert full.metrics.confusion == m.confusion
    assert (full.n_images, full.n_lesions) == (300, len(set(d.groups)))
    assert [p.threshold.target_specificity for p in full.operating_points] == [0.80, 0.95]
    assert len(full.net_benefit.thresholds) == 99


def test_every_figure_has_its_interval(full):
    assert full.intervals["balanced_accuracy"].estimate == full.metrics.balanced_accuracy
    assert full.intervals["malignant_auc"].estimate == full.metrics.malignancy.auc
    for c in full.metrics.per_class:
        assert full.intervals[f"sensitivity:{c.name}"].estimate == c.sensitivity
        assert full.intervals[f"auc:{c.name}"].estimate == c.auc
    for point in full.operating_points:
        key = f"malignant_sensitivity@{point.threshold.target_specificity:g}"
        assert full.intervals[key].estimate == pytest.approx(point.sensitivity)


def test_json_round_trip(full):
    text = full.to_json()
    json.loads(text, parse_constant=pytest.fail)
    again = EvaluationReport.from_json(text)
    assert again == full
    assert again.to_json() == text


def test_round_trip_with_everything_missing(make_scored):
    d = make_scored(40, 2)
    only = d.y == 0
    report = build_report(
        d.y[only], d.logits[only], ("x", "y"), ["L"] * only.sum(), identity=IDENTITY, n_resamples=5
    )
    assert report.metrics.malignancy is None
    assert report.metrics.macro_auc is None
    assert report.intervals["accuracy"].low is None
    assert EvaluationReport.from_json(report.to_json()) == report
    text = report.to_text()
    assert "Only x occurs here" in text
    assert "–" in text
    assert "nan" not in text.lower()


def test_text_shows_identity_classes_and_notes(full):
    text = full.to_text()
    assert "vae-256 on HAM10000 / test" in text
    assert "weights 0123456789ab" in text
    for name in HAM10000_CLASSES:
        row = next(line for line in text.splitlines() if line.startswith(f"{name} "))
        assert str(sum(full.metrics.confusion[HAM10000_CLASSES.index(name)])) in row
    assert "80% specificity on val" in text
    assert "net benefit at threshold" in text
    assert "Prediction sets at 95%" in text
    assert "biased upward" in text
    assert max(map(len, text.splitlines())) <= 110


def test_the_same_seed_gives_the_same_report(make_scored):
    d = make_scored(80, 3)
    a, b = (
        build_report(d.y, d.logits, ("a", "b", "c"), d.groups, identity=IDENTITY, n_resamples=20)
        for _ in range(2)
    )
    assert a.to_json() == b.to_json()


def test_notes_tell_what_is_missing_or_thin(make_scored):
    d = make_scored(80, 7)
    report = build_report(d.y, d.logits, HAM10000_CLASSES, d.groups, identity=IDENTITY, n_resamples=20)
    assert any("no operating point" in n for n in report.notes)
    assert any("Fewer than 20 lesions" in n for n in report.notes)
    assert report.operating_points == ()
    on_val = ReportIdentity(name="m", sha256="0", source="s", split="val", split_hash="0")
    val = build_report(
        d.y, d.logits, HAM10000_CLASSES, d.groups, identity=on_val, val=(d.y, d.logits), n_resamples=20
    )
    assert any("not evidence" in n for n in val.notes)


def test_a_source_with_two_of_seven_classes(make_scored):
    d = make_scored(200, 7)
    keep = np.isin(d.y, [4, 5])
    report = build_report(
        d.y[keep], d.logits[keep], HAM10000_CLASSES, d.groups[keep], identity=IDENTITY, n_resamples=30
    )
    assert report.metrics.absent_classes == ("akiec", "bcc", "bkl", "df", "vasc")
    assert report.intervals["balanced_accuracy"].low is not None
    assert report.intervals["sensitivity:bcc"].estimate is None
    assert "macro figures average over the 2 of 7 classes present" in " ".join(report.to_text().split())
    assert EvaluationReport.from_json(report.to_json()) == report


def test_damaged_reports_are_refused(full):
    with pytest.raises(DataError, match="not valid JSON"):
        EvaluationReport.from_json("{")
    data = json.loads(full.to_json())
    with pytest.raises(DataError, match="version 99"):
        EvaluationReport.from_json(json.dumps({**data, "schema_version": 99}))
    with pytest.raises(DataError, match="no field called extra"):
        EvaluationReport.from_json(json.dumps({**data, "extra": 1}))
    with pytest.raises(DataError, match=r"temperature.*str"):
        EvaluationReport.from_json(json.dumps({**data, "temperature": "warm"}))
    del data["seed"]
    with pytest.raises(DataError, match="lacks seed"):
        EvaluationReport.from_json(json.dumps(data))
    with pytest.raises(DataError, match="version None"):
        EvaluationReport.from_json("[]")
