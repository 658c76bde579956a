"""What is shown of model versions: a row of each, and one in full with the gate it passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dermdemo.errors import CheckpointError, DermdemoError
from dermdemo.evaluation.predict import readings_anywhere
from dermdemo.jobs.records import JobFolder
from dermdemo.jobs.registry import Listed, Registry, Switch, Version
from dermdemo.jobs.watching import gate_of
from dermdemo.models.arms import read_metas


@dataclass(frozen=True, kw_only=True)
class VersionRow:
    """One version in a list; `actions`: what may be done with it now."""

    number: int
    standing: str
    created: str
    who: str
    sha256: str
    job: str
    verdict: str
    problem: str | None
    models: Mapping[str, str]
    actions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class VersionDetail(VersionRow):
    """One version in full.

    Attributes:
        gate: what its job's gate found, as written. `gate_base`: the version it was compared with.
        gate_note: what must be known before the verdict is acted on, "" where nothing stands against it.
        files: their number. `bytes`: on disk.
        readings: model -> how often test has been read for it; None where that cannot be read.
    """

    gate: Mapping[str, Any] | None
    gate_base: int | None
    gate_note: str
    files: int
    bytes: int
    data_hash: str
    classes: tuple[str, ...]
    readings: Mapping[str, int | None]


def version_rows(registry: Registry) -> tuple[list[VersionRow], list[str]]:
    """All versions, newest first, and what is wrong, in sentences."""
    problems = []
    try:
        switch = registry.switch()
    except CheckpointError as error:
        switch, problems = None, [str(error)]
    return [_row(listed, switch) for listed in reversed(registry.listed())], problems


def version_row(registry: Registry, number: int) -> VersionRow | None:
    """One version; None if there is none of this number."""
    return next((row for row in version_rows(registry)[0] if row.number == number), None)


def version_detail(registry: Registry, number: int) -> VersionDetail | None:
    """One version in full; None if there is none of this number."""
    row = version_row(registry, number)
    if row is None:
        return None
    try:
        version: Version | None = registry.glance(number)
    except DermdemoError:
        version = None
    folder = JobFolder(registry.home / "jobs" / row.job) if row.job.isdigit() else None
    gate = gate_of(folder) if folder else None
    base = gate_base(folder) if folder else None
    missing, size = _on_disk(registry, version)
    problem = row.problem or (f"Files are missing: {', '.join(missing[:3])}. It cannot be made live." if missing
                              else None)
    values = {name: getattr(row, name) for name in VersionRow.__dataclass_fields__}
    return VersionDetail(
        **values | {"problem": problem}, gate=gate, gate_base=base, gate_note=gate_note(registry, row, base),
        files=len(version.files) if version else 0, bytes=size, data_hash=version.data_hash if version else "",
        classes=version.classes if version else (), readings=_readings(registry.root(number), row.models))


def _row(listed: Listed, switch: Switch | None) -> VersionRow:
    v = listed.version
    return VersionRow(
        number=listed.number, standing=listed.standing, created=v.created if v else "", who=v.who if v else "",
        sha256=v.sha256 if v else "", job=v.job if v else "", verdict=v.verdict if v else "", problem=listed.problem,
        models=dict(v.models) if v else {}, actions=version_actions(listed, switch))


def version_actions(listed: Listed, switch: Switch | None) -> tuple[str, ...]:
    """What may be done with a version; without a readable switch, any whole one may be rolled back to."""
    if listed.version is None and listed.number:
        return ()
    if switch is None:
        return ("rollback",)
    if listed.number == switch.live:
        return ()
    back = ("rollback",) if listed.number in (0, *switch.history) else ()
    if listed.standing == "candidate":
        return ("promote", "archive")
    return back if listed.standing in ("archived", "shipped") else (*back, "archive")


def gate_base(folder: JobFolder) -> int | None:
    """The version that a job's candidate was compared with; None if its record does not say."""
    try:
        return int(folder.record().facts["base"])
    except (DermdemoError, KeyError, ValueError):
        return None


def gate_note(registry: Registry, row: VersionRow, base: int | None) -> str:
    """What must be known before acting on a verdict: what it compares with is not what is served now."""
    if base is None or row.standing == "live":
        return ""
    again = ("For a verdict against the live one launch a job anew, or compare the two with `python -m dermdemo "
             "gate`.")
    try:
        live = registry.switch().live
    except CheckpointError:
        return "Which version is live is not known."
    if live != base:
        return f"The verdict compares with version {base}; version {live} is live now. {again}"
    try:
        then = JobFolder(registry.home / "jobs" / row.job).record().facts.get("base_sha256", "")
        if registry.glance(base).sha256 != then:
            return f"Version {base} is not what it was when the verdict was reached. {again}"
    except DermdemoError:
        return f"Version {base}, which the verdict compares with, cannot be read."
    return ""


def _on_disk(registry: Registry, version: Version | None) -> tuple[list[str], int]:
    """Files of a version that are missing, and the bytes of the others. Contents are checked when it goes live."""
    missing, size = [], 0
    for name in version.files if version else ():
        try:
            size += (registry.root(version.number) / name).stat().st_size  # type: ignore[union-attr]
        except OSError:
            missing.append(name)
    return missing, size


def _readings(root: Path, models: Mapping[str, str]) -> dict[str, int | None]:
    """Of every model of a set but the atlas; models are told apart by their hashes."""
    metas = {meta.sha256: meta for meta in read_metas(root)[0].values()}
    found: dict[str, int | None] = {}
    for name, sha256 in models.items():
        if name == "atlas":
            continue
        try:
            found[name] = readings_anywhere(metas[sha256])
        except (OSError, ValueError, KeyError, DermdemoError):
            found[name] = None
    return found
