"""Reading run directories: resumed, killed and damaged ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermdemo.errors import DataError
from dermdemo.evaluation.history import ArmHistory, Curve, load_history, load_predictions


def epoch(number: int, loss: float = 1.0, **extra: Any) -> dict[str, Any]:
    figures = {"loss": loss, "accuracy": 0.5, "balanced_accuracy": 0.4}
    return {"kind": "epoch", "epoch": number, "train": figures, "val": figures, "lr": 1e-3, **extra}


def write_run(folder: Path, lines: list[str], config: str = "{}") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config, encoding="utf-8")
    (folder / "events.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return folder


def test_epochs_are_read_and_other_events_passed_over(tmp_path):
    events = [{"kind": "started"}, epoch(0, 2.0), epoch(1, 1.5), {"kind": "finished"}]
    h = load_history(write_run(tmp_path / "vae", [json.dumps(e) for e in events], '{"arm": "vae"}'))
    assert (h.name, h.epochs, h.config) == ("vae", (0, 1), {"arm": "vae"})
    assert h.train == Curve(loss=(2.0, 1.5), accuracy=(0.5, 0.5), balanced_accuracy=(0.4, 0.4))


def test_a_resumed_run_counts_as_written_last(tmp_path):
    events = [epoch(0, 3.0), epoch(1, 2.0), epoch(2, 9.0), epoch(2, 1.0), epoch(3, 0.5)]
    h = load_history(write_run(tmp_path, [json.dumps(e) for e in events]), name="x")
    assert h.epochs == (0, 1, 2, 3)
    assert h.val.loss == (3.0, 2.0, 1.0, 0.5)


def test_a_half_written_last_line_is_ignored(tmp_path):
    run = write_run(tmp_path, [json.dumps(epoch(0))])
    with (run / "events.jsonl").open("a", encoding="utf-8") as f:
        f.write('{"kind": "epo')
    assert load_history(run).epochs == (0,)


def test_balanced_accuracy_may_be_missing(tmp_path):
    event = epoch(0, train={"loss": 1.0, "accuracy": 0.5}, val={"loss": 1.0, "accuracy": 0.5})
    assert load_history(write_run(tmp_path, [json.dumps(event)])).val.balanced_accuracy is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{broken", json.dumps(epoch(0))], "Line 1"),
        (["[1]"], "not an event"),
        ([json.dumps({"kind": "started"})], "not finished an epoch"),
        ([json.dumps({**epoch(0), "epoch": "0"})], "valid epoch number"),
        ([json.dumps({**epoch(0), "val": None})], "without a val loss"),
        ([json.dumps({**epoch(0), "train": {"loss": 1.0}})], "without a train accuracy"),
        ([json.dumps(epoch(0, float("nan")))], "diverged"),
    ],
)
def test_damaged_histories_are_refused(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        load_history(write_run(tmp_path, lines))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"events\.jsonl"):
        load_history(tmp_path)
    run = write_run(tmp_path, [json.dumps(epoch(0))], "not json")
    with pytest.raises(DataError, match=r"config\.json"):
        load_history(run)


def test_curves_must_match_their_epochs():
    curve = Curve(loss=(1.0, 2.0), accuracy=(0.1, 0.2))
    for epochs in ((), (0,), (1, 0), (0, 0)):
        with pytest.raises(DataError):
            ArmHistory(name="x", epochs=epochs, train=curve, val=curve)


def test_predictions_are_checked(tmp_path):
    arrays = {
        "y": np.array([0, 1]),
        "logits": np.zeros((2, 3), dtype=np.float32),
        "groups": np.array(["L1", "L2"]),
        "image_id": np.array(["I1", "I2"]),
    }
    assert load_predictions(tmp_path, "test") is None
    path = tmp_path / "test_predictions.npz"
    np.savez(path, **arrays)
    assert load_predictions(tmp_path, "test").image_id.tolist() == ["I1", "I2"]
    np.savez(path, **{**arrays, "image_id": np.array(["I1", "I1"])})
    with pytest.raises(DataError, match="names an image twice"):
        load_predictions(tmp_path, "test")
    np.savez(path, y=arrays["y"])
    with pytest.raises(DataError, match="lacks an array"):
        load_predictions(tmp_path, "test")
    path.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(DataError, match="cannot be read"):
        load_predictions(tmp_path, "test")
