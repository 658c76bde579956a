"""Registered data sets: where they may come from, what is checked, and what a job may name.

A data set is a folder on the allow-list (DERMDEMO_DATA) or an uploaded zip. It is refused if a lesion of the
live models' test split, by image, by lesion or by picture, stands anywhere but in its own test split: training
on it would spoil the only figures that may be believed. Its classes are those of the live models, if need be by
an explicit mapping.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dermdemo.config import environment
from dermdemo.data.archives import is_archive
from dermdemo.data.audit import Audit, audit
from dermdemo.data.sources import LesionTable, Problem, load_source
from dermdemo.data.splits import Fingerprints, Split, fingerprint, make_split
from dermdemo.errors import DataError
from dermdemo.evaluation.records import decode, encode
from dermdemo.jobs.audit_log import AuditLog
from dermdemo.jobs.data_checks import SHOWN, check_classes, load_prints, mapped_table, pictured, refuse, save_prints
from dermdemo.jobs.files import canonical, locked, utc_now, write_atomic
from dermdemo.jobs.gate import TRAINED_ON, KnownLesions, known_lesions
from dermdemo.jobs.registry import Registry, Serving, registry
from dermdemo.jobs.uploads import unpack, write_table

RECORD, PRINTS, LESIONS, AUDIT = "dataset.json", "test_prints.npz", "lesions", "audit.json"
STAGED, KEEP_STAGED = (".upload", ".new"), 24 * 3600.0  # folders of a registration under way; seconds


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
        source = self.allowed(Path(path))
        table = load_source(source)
        self._check_locators(table)
        return self._add(table, offer, source=source)

    def add_zip(self, archive: Path, offer: Offer) -> DataSet:
        """Register an uploaded zip; its images are checked and written into the state folder. Errors as above."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.sweep()
        staging = Path(tempfile.mkdtemp(prefix=f"{STAGED[0]}.", dir=self._folder))
        try:
            problems = unpack(archive, staging / LESIONS)
            table = load_source(staging / LESIONS)
            table = replace(table, name=offer.name or "upload", problems=(*table.problems, *problems))
            return self._add(table, offer)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def add(self, path: str, offer: Offer) -> DataSet:
        """Register what is on the allow-list: a zip with no CSV beside it as an upload is, all else where it is."""
        source = self.allowed(Path(path))
        if source.is_file() and is_archive(source) and not any(source.parent.glob("*.csv")):
            return self.add_zip(source, offer)
        return self.add_folder(path, offer)

    def sweep(self) -> None:
        """Remove what registrations left that were killed more than a day ago: it may hold patients' images."""
        for path in (p for prefix in STAGED for p in self._folder.glob(f"{prefix}.*")):
            with contextlib.suppress(FileNotFoundError):  # another process was first
                if time.time() - path.stat().st_mtime > KEEP_STAGED:
                    shutil.rmtree(path, ignore_errors=True)

    def audit_of(self, data: DataSet) -> dict[str, Any]:
        """The audit made when a data set was registered. Raises DataError: it cannot be read."""
        try:
            return dict(json.loads((self._folder / data.id / AUDIT).read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"The audit of data set '{data.id}' cannot be read: register it again.") from error

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
            self.allowed(Path(data.source))
            self._check_locators(table)
        if table.data_hash() != data.data_hash:
            raise DataError(f"The data set '{data.name}' has changed since it was registered: register it again.")
        return table

    def allowed(self, path: Path) -> Path:
        """The real path, if it lies below a folder of the allow-list. Raises DataError."""
        try:
            real = path.resolve()
            inside = any(real.is_relative_to(root.resolve()) for root in self.roots)
            exists = inside and real.exists()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a null byte, links that go in a circle
            raise DataError("This path cannot be read: choose one of the folders on offer.") from error
        if not inside:
            raise DataError(f"'{path}' is not below a folder that data may be registered from (DERMDEMO_DATA).")
        if not exists:
            raise DataError(f"There is nothing at '{path}'.")
        return real

    def _check_locators(self, table: LesionTable) -> None:
        """A table may name files elsewhere: all of them must lie below the allow-list."""
        for locator in {str(v).partition("!")[0] for v in table.frame["locator"]}:
            if not locator.isdigit():  # a row of a parquet file
                self.allowed(Path(locator))

    def _add(self, table: LesionTable, offer: Offer, *, source: Path | None = None) -> DataSet:
        live = self._live()
        checked = self._checked(mapped_table(table, live.classes, offer.mapping), live, offer)
        with locked(self._folder / ".lock"):
            number = max((int(p.name[1:]) for p in self._folder.glob("d[0-9]*")), default=0) + 1
            final = self._folder / f"d{number:04d}"
            staging = Path(tempfile.mkdtemp(prefix=f"{STAGED[1]}.", dir=self._folder))
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
        save_prints(staging / PRINTS, checked.prints, checked.split.rows("test"))
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
        shown = pictured(prints, load_prints(known))
        refuse(table, shown & elsewhere, "by their pictures")
        return ()


def catalogue() -> Catalogue:
    """The catalogue that the environment names."""
    models = registry()
    return Catalogue(models.home, environment().data, models)
