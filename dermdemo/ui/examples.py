"""The example images beside the app: synthetic lesions in assets/examples, listed once when the page is built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dermdemo.diagnoses import full_name
from dermdemo.ui import text

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "examples"
PREFIX = "synthetic_"


@dataclass(frozen=True)
class Example:
    """One picture to try: where it lies and what it was painted as."""

    path: Path
    label: str

    @property
    def short(self) -> str:
        """Name under the thumbnail."""
        return text.SHORT_LABELS.get(self.label, self.label)

    @property
    def name(self) -> str:
        """Name a result carries: it says that the picture is synthetic."""
        return text.EXAMPLE_NAME.format(label=full_name(self.label))


def list_examples(folder: Path = FOLDER) -> tuple[Example, ...]:
    """Examples named ``synthetic_<label>.jpg`` or ``synthetic_<label>_<n>.jpg``, in order of file name."""
    files = sorted(folder.glob(f"{PREFIX}*.jpg")) if folder.is_dir() else []
    return tuple(Example(path, path.stem.removeprefix(PREFIX).split("_")[0]) for path in files)
