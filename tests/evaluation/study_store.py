"""Two runs and a store with the checkpoints that came of them, as `train` leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from dermdemo.models.checkpoint import classifier_parts, save_checkpoint
from tests.evaluation.test_study import write_arm
from tests.models.tiny import CLASSES, classifier, meta


class Study(NamedTuple):
    """Folders: both runs, and the store of their checkpoints."""

    vae: Path
    imagenet: Path
    store: Path


def add_checkpoint(store: Path, run: Path, *, seed: int, **changes: Any) -> None:
    """The classifier that `run` would have exported to ``store/<run>``."""
    settings = json.loads((run / "config.json").read_text())
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    last = [event for event in events if event["kind"] == "epoch"][-1]
    parts, base = classifier_parts(classifier(seed=seed), None)
    values = {"arm": settings.get("arm"), "classes": CLASSES, "hidden": 16, "unfrozen_stages": 1,
              "head_trained": True, "base": base, "config": settings.get("config", {}),
              "metrics": {"training": {"val": last["val"]}}}
    save_checkpoint(store / run.name, meta("classifier", **{**values, **changes}), parts)


def make_study(root: Path) -> Study:
    """A calm run of the vae arm, an overfitting one of the imagenet arm, both finished on 2026-11-24."""
    runs = []
    for seed, (arm, speed, drift) in enumerate((("vae", 0.15, 0.0), ("imagenet", 0.4, 0.06))):
        run = write_arm(root / f"{arm}-arm", speed=speed, drift=drift, arm=arm, config={"lr": 0.001, "seed": 0},
                        classes=list(CLASSES))
        with (run / "events.jsonl").open("a") as stream:
            stream.write(json.dumps({"kind": "finished", "time": 1795478400.0}) + "\n")
        add_checkpoint(root / "store", run, seed=seed)
        runs.append(run)
    return Study(runs[0], runs[1], root / "store")
