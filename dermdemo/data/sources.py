"""Every way a data set can arrive, turned into one lesion table.

Layouts, recognised from the content of the path:
- HAM10000 / ISIC: a metadata CSV (image_id or isic_id, dx or diagnosis, lesion_id ...) beside images
  in folders or in the zip as it was downloaded;
- manifest: a CSV with `image,label` and any of `group,split,age,sex,localization,...`;
- class folders: one sub-folder per class;
- parquet shards with encoded images (`webp`, `jpeg`, `image` ...) and a label (`label`, `wnid` ...);
- `synthetic` or `synthetic:210`: lesions made by the package.

A row that cannot be used (no image for it) is dropped and counted in `problems`; what makes the
whole source unusable is a DataError.
"""

from __future__ import annotations

import hashlib
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from dermdemo.diagnoses import HAM10000_CLASSES
from dermdemo.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".heic"})
ID_COLUMNS = ("image_id", "isic_id", "image")
LABEL_COLUMNS = ("dx", "label", "diagnosis")
GROUP_COLUMNS = ("lesion_id", "group", "patient_id")
SPLITS = ("train", "val", "calib", "test")
PARQUET_IMAGE = ("webp", "jpeg", "jpg", "png", "bytes", "image")
PARQUET_LABEL = ("label", "wnid", "class", "dx")
PARQUET_ID = ("image_id", "file", "path", "id")


@dataclass(frozen=True)
class Problem:
    """A counted line of the audit: what was found, how often, and a few examples."""

    kind: str
    count: int
    examples: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class LesionTable:
    """One row per image.

    `frame` has image_id, label ("" if unlabelled), group, locator, and any metadata column;
    `split` too when the source brings one. `read(i)` gives the encoded bytes of row i.
    """

    name: str
    frame: pd.DataFrame
    classes: tuple[str, ...]
    reader: Callable[[str], bytes]
    problems: tuple[Problem, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.frame)

    def read(self, index: int) -> bytes:
        """Encoded bytes of row `index`. Raises DataError if the file has gone."""
        return self.reader(self.frame["locator"].iat[index])

    def labels(self) -> list[int]:
        """Class index per row, -1 where unlabelled."""
        order = {c: i for i, c in enumerate(self.classes)}
        return [order.get(label, -1) for label in self.frame["label"]]

    def take(self, mask: Sequence[bool] | pd.Series) -> LesionTable:
        """The rows where `mask` holds, in order."""
        frame = self.frame[list(mask)].reset_index(drop=True)
        return LesionTable(self.name, frame, self.classes, self.reader, self.problems)

    def data_hash(self) -> str:
        """SHA-256 over image ids, labels and groups in sorted order: identifies the table's content."""
        columns = zip(self.frame["image_id"], self.frame["label"], self.frame["group"], strict=True)
        lines = sorted(",".join(map(str, row)) for row in columns)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class ZipReader:
    """Reads members of a zip; one open handle per thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def __call__(self, member: str) -> bytes:
        archive = getattr(self._local, "archive", None)
        try:
            if archive is None:
                archive = self._local.archive = zipfile.ZipFile(self.path)
            return archive.read(member)
        except (OSError, KeyError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(f"Cannot read {member} from {self.path.name}: {error}.") from error


def read_path(locator: str) -> bytes:
    """Bytes of a file on disk."""
    try:
        return Path(locator).read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read {locator}: {error.strerror or error}.") from error


def load_source(source: str | Path, *, classes: Sequence[str] | None = None) -> LesionTable:
    """Read any supported layout into a lesion table.

    Args:
        source: a folder, a CSV, a zip beside its CSV, a parquet file or folder, or ``synthetic[:N]``.
        classes: the label vocabulary in order; by default HAM10000's seven where all labels are
            among them, else the sorted labels found.

    Raises:
        DataError: nothing usable there, missing columns, unknown labels, one group in two splits.
    """
    text = str(source)
    if text == "synthetic" or text.startswith("synthetic:"):
        return _load_synthetic(text, classes)
    path = Path(source)
    if not path.exists():
        raise DataError(f"There is nothing at '{source}'. Give a folder, a CSV, a zip beside its CSV, "
                        "parquet shards, or 'synthetic'.")
    return finish_table(*_read_layout(path), classes=classes)


def _read_layout(path: Path) -> tuple[str, pd.DataFrame, Callable[[str], bytes], list[Problem]]:
    if path.is_file() and path.suffix == ".csv":
        return _read_csv_layout(path)
    if path.is_file() and path.suffix == ".parquet":
        return _read_parquet([path])
    if path.is_file() and path.suffix == ".zip":
        return _read_csv_layout(_only_csv(path.parent), archive=path)
    if path.is_file():
        raise DataError(f"'{path.name}' is neither a CSV, a zip nor a parquet file.")
    shards = sorted(path.glob("*.parquet"))
    if shards:
        return _read_parquet(shards)
    if list(path.glob("*.csv")):
        return _read_csv_layout(_only_csv(path))
    return _read_class_folders(path)


def _only_csv(folder: Path) -> Path:
    """The one CSV of a folder that can be a table of lesions."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        columns = set(_read_csv(path, nrows=0).columns)
        if columns & set(ID_COLUMNS) and columns & set(LABEL_COLUMNS):
            found.append(path)
    if len(found) != 1:
        problem = "No CSV" if not found else f"{len(found)} CSV files"
        raise DataError(f"{problem} in '{folder}' with an image and a label column: name the CSV itself.")
    return found[0]


def _read_csv(path: Path, nrows: int | None = None) -> pd.DataFrame:
    try:
        return pd.read_csv(path, nrows=nrows, dtype=str, keep_default_na=True)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path.name} as a CSV: {error}.") from error


def _first(columns: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((c for c in wanted if c in columns), None)


def _renamed(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Columns under the table's names, the group too; a column that already has one of them gives way."""
    group = _first(list(frame), GROUP_COLUMNS)
    names = names | ({group: "group"} if group else {})
    clash = [c for c in frame.columns if c in names.values() and c not in names]
    return frame.drop(columns=clash).rename(columns=names)


def _read_csv_layout(path: Path, archive: Path | None = None
                     ) -> tuple[str, pd.DataFrame, Callable[[str], bytes], list[Problem]]:
    """A metadata CSV with ids (images found beside it) or a manifest with paths."""
    frame = _read_csv(path)
    image, label = _first(list(frame), ID_COLUMNS), _first(list(frame), LABEL_COLUMNS)
    if image is None or label is None:
        raise DataError(f"{path.name} needs a column for the image ({', '.join(ID_COLUMNS)}) and one for the "
                        f"label ({', '.join(LABEL_COLUMNS)}); it has {', '.join(frame.columns)}.")
    if frame[image].isna().any():
        raise DataError(f"{path.name} has {int(frame[image].isna().sum())} rows without an image.")
    frame = _renamed(frame, {image: "image_id", label: "label"})
    if frame["image_id"].str.lower().str.endswith(tuple(IMAGE_SUFFIXES)).all():
        frame["locator"] = [str(path.parent / p) for p in frame["image_id"]]
        exists = [Path(p).is_file() for p in frame["locator"]]
        reader: Callable[[str], bytes] = read_path
    else:
        where, reader = _index_images(path.parent, archive)
        frame["locator"] = frame["image_id"].map(where)
        exists = frame["locator"].notna().tolist()
    problems = []
    missing = frame["image_id"][[not e for e in exists]].tolist()
    if missing:
        problems.append(Problem("missing-image", len(missing), tuple(missing[:5]),
                                "rows without an image file; they are left out"))
    return path.parent.name, frame[exists], reader, problems


def _index_images(folder: Path, archive: Path | None) -> tuple[dict[str, str], Callable[[str], bytes]]:
    """image id -> locator, for loose files below `folder` or members of a zip in it."""
    if archive is None:
        files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES]
        if files:
            return {p.stem: str(p) for p in files}, read_path
    archives = [archive] if archive else sorted(folder.glob("*.zip"))
    members: dict[str, tuple[ZipReader, str]] = {}  # locator -> where it is
    where: dict[str, str] = {}
    for path in archives:
        reader = ZipReader(path)
        try:
            with zipfile.ZipFile(path) as opened:
                names = opened.namelist()
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path.name} is not a readable zip: {error}.") from error
        names = [n for n in names if Path(n).suffix.lower() in IMAGE_SUFFIXES]
        where |= {Path(n).stem: f"{path}!{n}" for n in names}
        members |= {f"{path}!{n}": (reader, n) for n in names}
    if not where:
        raise DataError(f"No images in '{folder}', neither as files nor in a zip.")

    def read(locator: str) -> bytes:
        reader, member = members[locator]
        return reader(member)

    return where, read


def _read_class_folders(path: Path) -> tuple[str, pd.DataFrame, Callable[[str], bytes], list[Problem]]:
    """One sub-folder per class; every image is its own group."""
    rows = [{"image_id": f"{p.parent.name}/{p.name}", "label": p.parent.name, "locator": str(p)}
            for p in sorted(path.glob("*/*")) if p.suffix.lower() in IMAGE_SUFFIXES]
    if not rows:
        raise DataError(f"Nothing usable in '{path}': no CSV, no parquet shards, no class folders with images.")
    return path.name, pd.DataFrame(rows), read_path, []


def _read_parquet(shards: Sequence[Path]) -> tuple[str, pd.DataFrame, Callable[[str], bytes], list[Problem]]:
    """Shards of encoded images, held in memory as encoded bytes."""
    try:
        frame = pd.concat([pd.read_parquet(p) for p in shards], ignore_index=True)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read the parquet shards in '{shards[0].parent}': {error}.") from error
    image, label = _first(list(frame), PARQUET_IMAGE), _first(list(frame), PARQUET_LABEL)
    if image is None or label is None:
        raise DataError(f"The shards need encoded images ({', '.join(PARQUET_IMAGE)}) and labels "
                        f"({', '.join(PARQUET_LABEL)}); they have {', '.join(frame.columns)}.")
    data = [v["bytes"] if isinstance(v, dict) else v for v in frame[image]]
    ids = _first([c for c in frame if c != image], PARQUET_ID)
    frame = _renamed(frame.drop(columns=image), {label: "label"} | ({ids: "image_id"} if ids else {}))
    frame["image_id"] = [str(v) for v in frame["image_id"]] if ids else [f"row-{i}" for i in range(len(frame))]
    for column in {"label", "group"} & set(frame.columns):  # may be numbers, or floats where some are missing
        frame[column] = pd.Series([None if pd.isna(v) else str(v) for v in frame[column]], dtype=object)
    frame["locator"] = [str(i) for i in range(len(frame))]
    return shards[0].parent.name, frame, lambda i: data[int(i)], []


def _load_synthetic(text: str, classes: Sequence[str] | None) -> LesionTable:
    """`synthetic:N`: N lesions written once below the state folder."""
    from dermdemo.config import environment
    from dermdemo.data.synthetic import write_synthetic

    _, _, count = text.partition(":")
    if count and not count.isdigit():
        raise DataError(f"'{text}' is not understood: write synthetic or synthetic:210.")
    lesions = int(count or 210)
    folder = environment().home / "synthetic" / str(lesions)
    if not (folder / "HAM10000_metadata.csv").exists():
        write_synthetic(folder, n_lesions=lesions, seed=0)
    table = load_source(folder, classes=classes)
    return LesionTable(f"synthetic-{lesions}", table.frame, table.classes, table.reader, table.problems)


def finish_table(name: str, frame: pd.DataFrame, reader: Callable[[str], bytes], problems: list[Problem], *,
                 classes: Sequence[str] | None = None) -> LesionTable:
    """Check and complete the columns that every layout must have."""
    frame = frame.reset_index(drop=True).copy()
    if frame.empty:
        raise DataError(f"'{name}' has no usable image: {problems[0].message if problems else 'the table is empty'}.")
    frame["label"] = frame["label"].fillna("").astype(str)
    duplicated = frame["image_id"].duplicated()
    if duplicated.any():
        raise DataError(f"{int(duplicated.sum())} image ids occur twice in '{name}', "
                        f"such as {frame['image_id'][duplicated].iat[0]}.")
    if "group" not in frame:
        frame["group"] = frame["image_id"]
    frame["group"] = frame["group"].fillna(frame["image_id"]).astype(str)
    found = sorted(set(frame["label"]) - {""})
    if classes is None:
        classes = HAM10000_CLASSES if set(found) <= set(HAM10000_CLASSES) else tuple(found)
    unknown = sorted(set(found) - set(classes))
    if unknown:
        raise DataError(f"Unknown labels in '{name}': {', '.join(unknown[:5])}. Known: {', '.join(classes)}.")
    _check_groups(name, frame, problems)
    if "age" in frame:
        frame["age"] = pd.to_numeric(frame["age"], errors="coerce")
    return LesionTable(name, frame, tuple(classes), reader, tuple(problems))


def _check_groups(name: str, frame: pd.DataFrame, problems: list[Problem]) -> None:
    """One group in two splits is an error; one group with two labels is a line of the audit."""
    if "split" in frame:
        frame["split"] = frame["split"].fillna("").astype(str)
        unknown = sorted(set(frame["split"]) - set(SPLITS) - {""})
        if unknown:
            raise DataError(f"Unknown splits in '{name}': {', '.join(unknown)}. Known: {', '.join(SPLITS)}.")
        if (frame["split"] == "").any():
            raise DataError(f"{int((frame['split'] == '').sum())} rows of '{name}' have no split: fill the column "
                            "or leave it out.")
        torn = frame.groupby("group")["split"].nunique()
        torn = torn[torn > 1].index.tolist()
        if torn:
            raise DataError(f"{len(torn)} groups of '{name}' stand in two splits, such as {torn[0]}: "
                            "images of one lesion must stay together.")
    mixed = frame.groupby("group")["label"].nunique()
    mixed = mixed[mixed > 1].index.tolist()
    if mixed:
        problems.append(Problem("mixed-labels", len(mixed), tuple(map(str, mixed[:5])),
                                "groups whose images carry different labels"))
    unlabelled = int((frame["label"] == "").sum())
    if unlabelled:
        problems.append(Problem("unlabelled", unlabelled, tuple(frame["image_id"][frame["label"] == ""][:5]),
                                "images without a label; they serve Stage I only"))
