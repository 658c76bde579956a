"""The example images beside the app: synthetic lesions in assets/examples, listed once when the page is built."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from dermdemo.data.images import decode_file
from dermdemo.diagnoses import full_name
from dermdemo.ui import text
from dermdemo.ui.figures import escape

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "examples"
PREFIX = "synthetic_"
THUMBNAIL = 160


@dataclass(frozen=True)
class Example:
    """One picture to try: where it lies, what it was painted as, and which of its class it is."""

    path: Path
    label: str
    number: int = 1

    @property
    def short(self) -> str:
        """Name under the thumbnail."""
        short = text.SHORT_LABELS.get(self.label, self.label)
        return short if self.number == 1 else f"{short} {self.number}"

    @property
    def name(self) -> str:
        """Name a result carries: it says that the picture is synthetic."""
        return text.EXAMPLE_NAME.format(label=full_name(self.label))


def list_examples(folder: Path = FOLDER) -> tuple[Example, ...]:
    """Examples named ``synthetic_<label>.jpg`` or ``synthetic_<label>_<n>.jpg``, in order of file name."""
    files = sorted(folder.glob(f"{PREFIX}*.jpg"), key=lambda path: path.stem) if folder.is_dir() else []
    found = []
    for path in files:
        label, _, number = path.stem.removeprefix(PREFIX).partition("_")
        found.append(Example(path, label, int(number) if number.isdigit() else 1))
    return tuple(found)


def thumbnails(examples: tuple[Example, ...]) -> str:
    """HTML: a button with a small picture for every example; ``data-index`` says which."""
    head = f"<h2>{escape(text.EXAMPLES_TITLE)}</h2>"
    if not examples:
        return f'<div class="dd-examples">{head}<p>{escape(text.EXAMPLES_NONE)}</p></div>'
    items = "".join(
        f'<li><button type="button" data-index="{index}" aria-label="{escape(_said(example))}">'
        f'<img src="{_thumbnail(example.path)}" alt=""><span>{escape(example.short)}</span></button></li>'
        for index, example in enumerate(examples)
    )
    return f'<div class="dd-examples">{head}<p>{escape(text.EXAMPLES_NOTE)}</p><ul>{items}</ul></div>'


def _said(example: Example) -> str:
    """What a screen reader says of the button."""
    return f"{example.short}: {text.EXAMPLE_ALT.format(label=full_name(example.label))}"


def _thumbnail(path: Path) -> str:
    """A small JPEG as a data URI."""
    pixels = decode_file(path, max_side=THUMBNAIL).pixels
    buffer = io.BytesIO()
    pixels.save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
