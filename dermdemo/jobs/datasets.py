"""Registered data sets: where they may come from, what is checked, and what a job may name.

A data set is a folder on the allow-list (DERMDEMO_DATA) or an uploaded zip. It is refused if a lesion of the
live models' test split, by image, by lesion or by picture, stands anywhere but in its own test split: training
on it would spoil the only figures that may be believed. Its classes are those of the live models, if need be by
an explicit mapping.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dermdemo.config import environment
from dermdemo.data.audit import Audit, audit
from dermdemo.data.sources import LesionTable, Problem, load_source
from dermdemo.data.splits import Fingerprints, Split, fingerprint, make_split, near_duplicates
from dermdemo.errors import DataError
from dermdemo.evaluation.records import decode, encode
from dermdemo.jobs.audit_log import AuditLog
from dermdemo.jobs.files import canonical, locked, utc_now, write_atomic
from dermdemo.jobs.gate import TRAINED_ON, KnownLesions, known_lesions
from dermdemo.jobs.registry import Registry, Serving, registry
from dermdemo.jobs.uploads import unpack, write_table

RECORD, PRINTS, LESIONS, AUDIT = "dataset.json", "test_prints.npz", "lesions", "audit.json"
MIN_GROUPS = 4  # lesions of each class: one for every split
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A registered data set.

    Attributes:
        source: what the commands read. `copied`: it lies in the state folder.
        mapping: label -> class of the live models, "" for left out.
        data_hash: of all rows. `readable_hash`: of those with a readable image, which models are made from.
        known: images of lesions that the live models were trained or chosen on.
        notes: what was not checked, in sentences.
    """

    id: str
    name: str
    who: str
    created: str
    source: str
    copied: bool
    split_seed: int
    data_hash: str
    readable_hash: str
    split_hash: str
    classes: tuple[str, ...]
    images: int
    groups: int
    known: int
    live_version: int
    mapping: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Offer:
    """How a data set is offered.

    Attributes:
        mapping: label -> class, "" to leave its images out; labels that are classes need none.
        names_only: do without the comparison of pictures where the live models' own data are not registered.
    """

    who: str
    name: str = ""
    mapping: Mapping[str, str] = field(default_factory=dict)
    split_seed: int = 0
    names_only: bool = False


class _Live(NamedTuple):
    serving: Serving
    classes: tuple[str, ...]
    data_hash: str
    test: KnownLesions
    trained: KnownLesions


class _Checked(NamedTuple):
    table: LesionTable
    split: Split
    prints: Fingerprints
    audit: Audit
    known: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Catalogue:
    """Data sets of a state folder; `roots` are the folders that may be registered, and what lies below them."""

    home: Path
    roots: tuple[Path, ...]
    registry: Registry

    @property
    def _folder(self) -> Path:
        return self.home / "data"

    def add_folder(self, path: str, offer: Offer) -> DataSet:
        """Register a folder (or CSV, zip beside its CSV, parquet) on the allow-list; it stays where it is.

        With a mapping its images are copied, with the labels mapped.

        Raises:
            DataError: not on the allow-list, unusable, other classes, or test lesions of the live models in it.
            JobError: the audit log is damaged.
        """
        source = self._allowed(Path(path))
        table = load_source(source)
        self._check_locators(table)
        return self._add(table, offer, source=source)

    def add_zip(self, archive: Path, offer: Offer) -> DataSet:
        """Register an uploaded zip; its images are checked and written into the state folder. Errors as above."""
        self._folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".upload.", dir=self._folder))
        try:
            problems = unpack(archive, staging / LESIONS)
            table = load_source(staging / LESIONS)
            table = replace(table, name=offer.name or "upload", problems=(*table.problems, *problems))
            return self._add(table, offer)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def get(self, data: str) -> DataSet:
        """One data set. Raises DataError: no such one, or its record is damaged."""
        try:
            if not data.isalnum():
                raise OSError(f"'{data}' is no id")
            return decode(DataSet, json.loads((self._folder / data / RECORD).read_bytes()))
        except (OSError, ValueError) as error:
            known = ", ".join(d.id for d in self.listed()) or "none is registered"
            raise DataError(f"There is no data set '{data}'; known: {known}.") from error

    def listed(self) -> tuple[DataSet, ...]:
        """All readable data sets, oldest first."""
        found = []
        for path in sorted(self._folder.glob(f"[!.]*/{RECORD}")):
            try:
                found.append(decode(DataSet, json.loads(path.read_bytes())))
            except (OSError, ValueError, DataError):
                continue
        return tuple(found)

    def check(self, data: DataSet) -> LesionTable:
        """Read a data set again. Raises DataError: it is no longer what was registered."""
        table = load_source(data.source)
        if not data.copied:
            self._allowed(Path(data.source))
            self._check_locators(table)
        if table.data_hash() != data.data_hash:
            raise DataError(f"The data set '{data.name}' has changed since it was registered: register it again.")
        return table

    def _allowed(self, path: Path) -> Path:
        """The real path, if it lies below a folder of the allow-list. Raises DataError."""
        real = path.resolve()
        if not any(real.is_relative_to(root.resolve()) for root in self.roots):
            raise DataError(f"'{path}' is not below a folder that data may be registered from (DERMDEMO_DATA).")
        if not real.exists():
            raise DataError(f"There is nothing at '{path}'.")
        return real

    def _check_locators(self, table: LesionTable) -> None:
        """A table may name files elsewhere: all of them must lie below the allow-list."""
        for locator in {str(v).partition("!")[0] for v in table.frame["locator"]}:
            if not locator.isdigit():  # a row of a parquet file
                self._allowed(Path(locator))

    def _add(self, table: LesionTable, offer: Offer, *, source: Path | None = None) -> DataSet:
        live = self._live()
        checked = self._checked(mapped_table(table, live.classes, offer.mapping), live, offer)
        with locked(self._folder / ".lock"):
            number = max((int(p.name[1:]) for p in self._folder.glob("d[0-9]*")), default=0) + 1
            final = self._folder / f"d{number:04d}"
            staging = Path(tempfile.mkdtemp(prefix=".new.", dir=self._folder))
            try:
                data = self._write(staging, final, source, checked, live, offer)
                AuditLog(self.home / "audit").append(
                    who=offer.who, action="register-data", data_hash=data.data_hash,
                    details={"data": data.id, "name": data.name, "images": data.images})
                staging.chmod(0o755)
                staging.rename(final)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return data

    def _write(self, staging: Path, final: Path, source: Path | None, checked: _Checked, live: _Live, offer: Offer
               ) -> DataSet:
        """Everything of a data set, into `staging`; without a source or with a mapping the images too."""
        table, split, copied = checked.table, checked.split, source is None or bool(offer.mapping)
        if copied:
            write_table(table, staging / LESIONS)
            table = load_source(staging / LESIONS, classes=live.classes)
            split = make_split(table, seed=offer.split_seed, prints=checked.prints)
        whole = table if copied else load_source(str(source))
        data = DataSet(
            id=final.name, name=offer.name or checked.table.name, who=offer.who, created=utc_now(),
            source=str(final / LESIONS if copied else source), copied=copied, split_seed=offer.split_seed,
            data_hash=whole.data_hash(), readable_hash=table.data_hash(), split_hash=split.hash, classes=live.classes,
            images=len(table), groups=int(table.frame["group"].nunique()), known=checked.known,
            live_version=live.serving.number, mapping=dict(offer.mapping), notes=checked.notes)
        _save_prints(staging / PRINTS, checked)
        write_atomic(staging / AUDIT, checked.audit.to_json().encode())
        write_atomic(staging / RECORD, canonical(encode(data)))
        return data

    def _live(self) -> _Live:
        serving = self.registry.serving()
        version = self.registry.version(serving.number)
        return _Live(serving, version.classes, version.data_hash, known_lesions(serving.root, ("test",)),
                     known_lesions(serving.root, TRAINED_ON))

    def _checked(self, table: LesionTable, live: _Live, offer: Offer) -> _Checked:
        """Decode, split, audit, and look for lesions of the live models. Raises DataError."""
        prints = fingerprint(table)
        if prints.unreadable:
            keep = [i not in prints.unreadable for i in range(len(table))]
            problem = Problem("unreadable", len(prints.unreadable), tuple(prints.unreadable.values())[:SHOWN],
                              "unreadable images; they are left out")
            table = replace(table.take(keep), problems=(*table.problems, problem))
            prints = prints.take(keep)
        check_classes(table, live.classes)
        split = make_split(table, seed=offer.split_seed, prints=prints)
        elsewhere = np.array([name != "test" for name in split.names])
        refuse(table, live.test.rows(table) & elsewhere, "by their ids")
        notes = self._compare_pictures(table, prints, elsewhere, live, offer)
        return _Checked(table, split, prints, audit(table, split_seed=offer.split_seed),
                        int(live.trained.rows(table).sum()), notes)

    def _compare_pictures(self, table: LesionTable, prints: Fingerprints, elsewhere: np.ndarray, live: _Live,
                          offer: Offer) -> tuple[str, ...]:
        """Refuse pictures of the live models' test lesions. Returns what was not checked."""
        if table.data_hash() == live.data_hash:
            return ()  # the live models' own data: the ids say it all
        known = next((self._folder / d.id / PRINTS for d in self.listed() if d.readable_hash == live.data_hash), None)
        if known is None:
            if offer.names_only:
                return ("Pictures were not compared with the live models' test lesions: ids only.",)
            raise DataError("The pictures cannot be compared with the live models' test lesions: register the data "
                            "the live models were made from first, or ask for a comparison of ids only.")
        shown = pictured(prints, _load_prints(known))
        refuse(table, shown & elsewhere, "by their pictures")
        return ()


def mapped_table(table: LesionTable, classes: tuple[str, ...], mapping: Mapping[str, str]) -> LesionTable:
    """The table with its labels mapped; images whose label is mapped to "" are left out.

    Raises:
        DataError: a label is neither a class nor mapped, or is mapped to something that is none.
    """
    wrong = sorted(f"{k} to {v}" for k, v in mapping.items() if v and v not in classes)
    if wrong:
        raise DataError(f"Labels can be mapped to {', '.join(classes)}, not {', '.join(wrong)}.")
    labels = table.frame["label"].map(lambda v: mapping.get(v, v))
    unknown = sorted(set(labels) - set(classes) - {""})
    if unknown:
        raise DataError(f"The live models do not know the classes {', '.join(unknown[:SHOWN])}. Map each to one of "
                        f"{', '.join(classes)}, or to nothing to leave its images out.")
    keep = [not (v in mapping and not mapping[v]) for v in table.frame["label"]]
    changed = LesionTable(table.name, table.frame.assign(label=labels), classes, table.reader, table.problems)
    return changed.take(keep)


def check_classes(table: LesionTable, classes: tuple[str, ...]) -> None:
    """Raise DataError unless every class has a lesion for each split."""
    frame = table.frame
    few = [c for c in classes if frame.loc[frame["label"] == c, "group"].nunique() < MIN_GROUPS]
    if few:
        raise DataError(f"The data set has fewer than {MIN_GROUPS} lesions of {', '.join(few)}, which the live "
                        "models know: models made from it would not know the same classes.")


def refuse(table: LesionTable, rows: np.ndarray, how: str) -> None:
    """Raise DataError if any row (N,) bool is set, naming a few."""
    if rows.any():
        some = table.frame["image_id"][rows].tolist()[:SHOWN]
        raise DataError(f"{int(rows.sum())} images show test lesions of the live models, {how}, and would not be in "
                        f"test here, such as {', '.join(map(str, some))}. Take them out, or keep them in test.")


def pictured(prints: Fingerprints, known: Fingerprints) -> np.ndarray:
    """(N,) bool: rows whose picture is nearly one of the known ones."""
    n = len(prints.hashes)
    both = Fingerprints(np.concatenate([prints.hashes, known.hashes]), np.concatenate([prints.thumbs, known.thumbs]),
                        prints.unreadable)
    found = near_duplicates(both, ["here"] * n + ["known"] * len(known.hashes))
    rows = np.zeros(n, bool)
    rows[[d.first for d in found]] = True
    return rows


def _save_prints(path: Path, checked: _Checked) -> None:
    rows = checked.split.rows("test")
    with path.open("wb") as stream:
        np.savez_compressed(stream, hashes=checked.prints.hashes[rows], thumbs=checked.prints.thumbs[rows])


def _load_prints(path: Path) -> Fingerprints:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return Fingerprints(stored["hashes"], stored["thumbs"], {})
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"'{path}' cannot be read: register the live models' data again.") from error


def catalogue() -> Catalogue:
    """The catalogue that the environment names."""
    models = registry()
    return Catalogue(models.home, environment().data, models)
