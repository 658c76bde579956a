"""`study --records`: what the finished runs of a study left behind, without weights, to keep beside its page.

A run leaves about 1 MB this way. Table, figures and page follow from it as from the study itself, and a study goes on
from a copy of it. Images and lesions are named by the ids of the data set.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath

from dermdemo.errors import DataError
from dermdemo.evaluation.seeds.folder import (
    MODEL_FILE,
    PIXELS_FOLDER,
    SCORES,
    SETTINGS_FILE,
    TEST_FILE,
    RunPlace,
    agreed_settings,
    write_json,
)
from dermdemo.evaluation.seeds.runs import load_study_runs
from dermdemo.models.checkpoint import META_FILE

CONFIG_FILE = "config.json"
LEFT = (CONFIG_FILE, "events.jsonl", MODEL_FILE, TEST_FILE, "*_predictions.npz", f"{SCORES}/*.npz")
PATHS = ("source", "weights")  # of config.json; only their last part is kept


def keep_records(root: Path, to: Path) -> tuple[str, ...]:
    """Add what finished runs of the study in `root` left to the records in `to`; runs that are there stay.

    Returns:
        The runs that were added, such as ``vae-s3``.

    Raises:
        ConfigError: the records are of a study with other settings.
        DataError: no run has finished; `to` holds something else, or another model of the same arm and seed.
    """
    study = load_study_runs(root)
    if to.exists() and not (to / SETTINGS_FILE).exists() and (not to.is_dir() or any(to.iterdir())):
        raise DataError(f"'{to}' is not empty and holds no records of a study: choose another folder.")
    settings = agreed_settings(to, study.settings)
    places = [(RunPlace(root=root, arm=arm, seed=seed), RunPlace(root=to, arm=arm, seed=seed))
              for arm, of_arm in study.runs.items() for seed, run in of_arm.items() if run.meta is not None]
    new = [(here, there) for here, there in places if there.kind != "done"]
    for here, there in places:
        if (here, there) not in new and here.reading != there.reading:
            raise DataError(f"'{to}' holds another model of {here.name}, or one that was read another time. Nothing "
                            "was copied.")
    to.mkdir(parents=True, exist_ok=True)
    write_json(to / SETTINGS_FILE, settings)
    for here, there in new:
        _copy(here.checkpoint, there.checkpoint, [META_FILE])
        _copy(here.folder, there.folder, LEFT)
    if (root / PIXELS_FOLDER / TEST_FILE).exists() and not (to / PIXELS_FOLDER / TEST_FILE).exists():
        _copy(root / PIXELS_FOLDER, to / PIXELS_FOLDER, LEFT)
    load_study_runs(to)
    return tuple(here.name for here, _ in new)


def _copy(folder: Path, to: Path, patterns: Sequence[str]) -> None:
    """Copy the files of these patterns, whole or not at all."""
    partial = to.with_name(f".{to.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for path in (p for pattern in patterns for p in sorted(folder.glob(pattern))):
        copy = partial / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    if (partial / CONFIG_FILE).exists():
        config = json.loads((partial / CONFIG_FILE).read_text(encoding="utf-8"))
        config |= {key: PurePath(config[key]).name for key in PATHS if isinstance(config.get(key), str)}
        (partial / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(to, ignore_errors=True)
    partial.rename(to)
