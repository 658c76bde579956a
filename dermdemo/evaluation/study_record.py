"""The study as it is kept with the checkpoints: `compare RUN_A RUN_B --save STORE` writes STORE/study/study.json.

It holds the whole table, the curves of both arms and which two checkpoints were compared, so that the app
can show the study without the run folders, and can say when other models are being served.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dermdemo.errors import CheckpointError, DataError
from dermdemo.evaluation.history import ArmHistory, finished_on, load_history
from dermdemo.evaluation.records import decode, encode
from dermdemo.evaluation.study import StudyTable
from dermdemo.models.arms import find_arm
from dermdemo.models.checkpoint import CheckpointMeta, load_meta

STUDY_FOLDER, STUDY_FILE = "study", "study.json"
SCHEMA_VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """One side of the comparison.

    Attributes:
        arm: arm name, for example ``vae``; `run` the name of its run folder.
        checkpoint: folder name in the store; `sha256` identifies its weights.
        finished: day the run ended, ISO 8601, UTC; None where its events do not say.
    """

    arm: str
    run: str
    checkpoint: str
    sha256: str
    finished: str | None


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A stored comparison; `models`, `histories` and the arms of `table` are in the order (A, B).

    `histories` carry no settings: those are in the metadata of the checkpoints.
    """

    schema_version: int
    models: tuple[ComparedModel, ...]
    histories: tuple[ArmHistory, ...]
    table: StudyTable

    def matches(self, models: Mapping[str, str]) -> bool:
        """Whether both compared models are among `models` (folder name -> SHA-256), under whatever name."""
        return {m.sha256 for m in self.models} <= set(models.values())

    def to_json(self) -> str:
        """JSON text without NaN; `from_json` gives back an equal record."""
        return json.dumps(encode(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "This study") -> StudyRecord:
        """Read what `to_json` wrote. Raises DataError, naming `where`, if it is no such record."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is not valid JSON; write it anew with `compare --save`.") from error
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            raise DataError(f"{where} has version {version}; this program reads {SCHEMA_VERSION}.")
        try:
            record = decode(cls, data)
            _check(record)
        except DataError as error:
            raise DataError(f"{where} cannot be read: {error} Write it anew with `compare --save`.") from error
        return record


def save_study(store: Path, run_a: Path, run_b: Path, table: StudyTable) -> Path:
    """Write the comparison of two runs beside the checkpoints that came of them. Returns the file.

    Raises:
        DataError: a run names no arm, or the checkpoint of its arm in `store` is not what it trained.
        CheckpointError: `store` holds no classifier of an arm.
    """
    sides = [_side(store, run, arm.name) for run, arm in zip((run_a, run_b), table.arms, strict=True)]
    record = StudyRecord(
        schema_version=SCHEMA_VERSION,
        models=tuple(model for model, _ in sides),
        histories=tuple(dataclasses.replace(history, config={}) for _, history in sides),
        table=table,
    )
    _check(record)
    folder = store / STUDY_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{STUDY_FILE}.tmp"
    temporary.write_text(record.to_json(), encoding="utf-8")
    os.replace(temporary, folder / STUDY_FILE)
    return folder / STUDY_FILE


def load_study(folder: Path) -> StudyRecord:
    """The study in a folder (``STORE/study``).

    Raises:
        CheckpointError: there is none.
        DataError: study.json is damaged or of another version.
    """
    path = folder / STUDY_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"'{folder}' holds no study: {STUDY_FILE} cannot be read. Compare two runs: `python -m "
                              f"dermdemo compare RUN_A RUN_B --save {folder.parent}`.") from error
    return StudyRecord.from_json(text, f"'{path}'")


def _side(store: Path, run: Path, name: str) -> tuple[ComparedModel, ArmHistory]:
    """A run and the checkpoint of its arm, after checking that the one came of the other."""
    history = load_history(run, name=name)
    arm = history.config.get("arm")
    if not isinstance(arm, str):
        raise DataError(f"The settings of run {name} name no arm: only runs of `train` can be saved as the study.")
    folder = find_arm(store, arm)
    meta = load_meta(folder)
    if not _came_of(meta, history):
        raise DataError(f"'{folder}' is not what run {name} trained (settings or the last validation loss differ): "
                        "compare the run that made it, or put its checkpoint into the store.")
    model = ComparedModel(arm=arm, run=Path(run).resolve().name, checkpoint=folder.name, sha256=meta.sha256,
                          finished=finished_on(run))
    return model, history


def _came_of(meta: CheckpointMeta, history: ArmHistory) -> bool:
    """Whether settings and last validation loss of a checkpoint are those of a run."""
    loss = meta.metrics.get("training", {}).get("val", {}).get("loss")
    same_end = isinstance(loss, int | float) and math.isclose(loss, history.val.loss[-1], rel_tol=1e-6)
    return same_end and dict(meta.config) == history.config.get("config")


def _check(record: StudyRecord) -> None:
    """Raise DataError unless there are two arms throughout, different ones, with whole hashes."""
    table = record.table
    if {len(record.models), len(record.histories), len(table.arms), len(table.matched)} != {2}:
        raise DataError("A study compares two arms.")
    if record.models[0].sha256 == record.models[1].sha256:
        raise DataError("Both runs lead to the same checkpoint.")
    wrong = [m.checkpoint for m in record.models if not _SHA256.fullmatch(m.sha256)]
    if wrong:
        raise DataError(f"The SHA-256 of {', '.join(wrong)} is not one.")
    names = [(h.name, a.name) for h, a in zip(record.histories, table.arms, strict=True)]
    if any(history != arm for history, arm in names):
        raise DataError("The curves and the table are of different runs.")
