"""Everything the Models tab shows, read once when the page is built: plain values, no models, no tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dermdemo.errors import DermdemoError
from dermdemo.evaluation.seeds.facts import StudyFacts
from dermdemo.evaluation.seeds.summary import TABLE_FILE, load_results
from dermdemo.evaluation.seeds.table import Table
from dermdemo.evaluation.study_record import STUDY_FILE, STUDY_FOLDER, StudyRecord, load_study
from dermdemo.models.card import CARD_FILE
from dermdemo.models.checkpoint import CheckpointMeta, find_base, load_meta
from dermdemo.models.stored_figures import (
    BaselineFigures,
    StoredFigures,
    StoredReconstruction,
    read_baseline,
    read_reconstruction,
    read_test,
)

TONES = ("a", "b")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is loaded and what is known of it.

    Attributes:
        vae: metadata of the VAE; `arms` those of the classifiers, by arm; `bases` of the checkpoints that
            only lend a part to them.
        tests: test figures by arm; an arm that was not evaluated is missing.
        baseline: of the pixels, on the same test split.
        reconstruction: of the VAE; None if it was not evaluated.
        study: the stored comparison; None if there is none.
        seeds: table and facts of a stored study over seeds; None if there is none.
        cards: checkpoint name -> its card as Markdown.
        problems: sentences on what could not be read.
        retrained: whether these are a promoted version and not the shipped models.
    """

    vae: CheckpointMeta
    arms: Mapping[str, CheckpointMeta]
    bases: tuple[CheckpointMeta, ...] = ()
    tests: Mapping[str, StoredFigures]
    baseline: BaselineFigures | None
    reconstruction: StoredReconstruction | None = None
    study: StudyRecord | None
    seeds: tuple[Table, StudyFacts] | None = None
    cards: Mapping[str, str]
    problems: tuple[str, ...] = ()
    retrained: bool = False

    @property
    def models(self) -> tuple[CheckpointMeta, ...]:
        """The VAE, the arms, then what only lends them parts."""
        return (self.vae, *self.arms.values(), *self.bases)

    @property
    def study_matches(self) -> bool:
        """Whether the stored comparison is of the models that are served."""
        return self.study is not None and self.study.matches({m.name: m.sha256 for m in self.models})


def gather(root: Path, vae: CheckpointMeta, arms: Mapping[str, CheckpointMeta]) -> Evidence:
    """Read figures, cards and study from the store that the served models came from.

    What cannot be read is left out and said in `problems`; nothing is raised for it.
    """
    problems: list[str] = []
    tests: dict[str, StoredFigures] = {}
    baseline = None
    for arm, meta in arms.items():
        try:
            found = read_test(meta)
            tests |= {} if found is None else {arm: found}
            baseline = baseline or read_baseline(meta)
        except DermdemoError as error:
            problems.append(str(error))
    made = None
    try:
        made = read_reconstruction(vae)
    except DermdemoError as error:
        problems.append(str(error))
    bases = _bases(root, (vae, *arms.values()), problems)
    return Evidence(
        vae=vae, arms=arms, bases=bases, tests=tests, baseline=baseline, reconstruction=made,
        study=_stored(root / STUDY_FOLDER, STUDY_FILE, load_study, problems),
        seeds=_stored(root / STUDY_FOLDER, TABLE_FILE, load_results, problems),
        cards={m.name: card_text(root / m.name) for m in (vae, *arms.values(), *bases)}, problems=tuple(problems),
    )  # fmt: skip


def card_text(folder: Path) -> str:
    """The model card of a checkpoint folder as Markdown; empty if there is none that can be read."""
    try:
        return (folder / CARD_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def tones(arms: Mapping[str, object] | tuple[str, ...]) -> dict[str, str]:
    """Colour of every arm: the VAE arm always has the first, so that two sections never disagree."""
    ordered = sorted(arms, key=lambda arm: arm != "vae")
    return {arm: TONES[min(k, len(TONES) - 1)] for k, arm in enumerate(ordered)}


def _bases(root: Path, models: tuple[CheckpointMeta, ...], problems: list[str]) -> tuple[CheckpointMeta, ...]:
    """Metadata of the checkpoints that lend parts and are not served themselves."""
    served, found = {m.name for m in models}, {}
    for meta in models:
        for base in meta.base:
            try:
                folder = find_base(root / meta.name, base)
                if folder.name not in served:
                    found[folder.name] = dataclasses.replace(load_meta(folder), name=folder.name)
            except DermdemoError as error:
                problems.append(str(error))
    return tuple(found.values())


def _stored(folder: Path, file: str, load: Callable[[Path], T], problems: list[str]) -> T | None:
    """What `load` makes of a folder; None where the file is not there, or cannot be read and that is a problem."""
    if not (folder / file).exists():
        return None
    try:
        return load(folder)
    except DermdemoError as error:
        problems.append(str(error))
        return None
