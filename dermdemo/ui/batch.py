"""Many images at once, without a browser: read files and zips, analyse in batches, draw and export the list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dermdemo.data.archives import entries, is_archive
from dermdemo.diagnoses import full_name
from dermdemo.errors import ImageError
from dermdemo.types import Analysis, Failure
from dermdemo.ui import text
from dermdemo.ui.figures import escape
from dermdemo.ui.results import Results
from dermdemo.ui.uploads import Uploads
from dermdemo.ui.wording import several as words

if TYPE_CHECKING:
    from dermdemo.analysis.analyser import Analyser

LIMIT = 200
NAME_SHOWN = 80


@dataclass(frozen=True)
class Row:
    """One image of the list: the key of its result, or why there is none."""

    name: str
    key: str
    failure: Failure | None = None


@dataclass(frozen=True)
class Step:
    """How far a list has come: files read so far, of how many, and its rows."""

    done: int
    total: int
    rows: tuple[Row, ...]


def gather(uploads: Uploads, paths: Sequence[str]) -> tuple[list[tuple[str, bytes]], list[Failure]]:
    """Bytes of up to `LIMIT` images from uploaded files and zips, and what could not be read."""
    found: list[tuple[str, bytes]] = []
    failed: list[Failure] = []

    def fail(name: str, error: ImageError) -> None:
        failed.append(Failure(name=name, message=str(error), reason=error.reason))

    for path in paths:
        name = Path(path).name[-NAME_SHOWN:]
        room = LIMIT - len(found)
        try:
            if room <= 0:
                raise ImageError(f"Only {LIMIT} images are analysed at once; send the rest separately.",
                                 reason="too-many")
            if not is_archive(uploads.claim(path)):
                found.append((name, uploads.read(path)))
                continue
            for entry in entries(uploads.claim(path), limit=room):
                if isinstance(entry.data, ImageError):
                    fail(entry.name, entry.data)
                else:
                    found.append((entry.name, entry.data))
        except ImageError as error:
            fail(name, error)
    return found, failed


def analyse_all(analyser: Analyser, uploads: Uploads, results: Results[Analysis], paths: Sequence[str]
                ) -> Iterator[Step]:
    """Analyse uploads; a step after each image, the last one complete."""
    items, failed = gather(uploads, paths)
    rows = [Row(f.name, "", f) for f in failed]
    total = len(items) + len(failed)
    yield Step(len(failed), total, tuple(rows))
    for answer in analyser.analyse_many(items):
        if isinstance(answer, Failure):
            rows.append(Row(answer.name, "", answer))
        else:
            rows.append(Row(answer.name, results.put(answer)))
        yield Step(len(rows), total, tuple(rows))


def progress(step: Step) -> str:
    """A bar with its count."""
    share = step.done / step.total if step.total else 1.0
    said = words.WORKING.format(done=step.done, total=step.total)
    return (f'<div class="dd-progress" role="status"><span>{escape(said)}</span><progress max="1" '
            f'value="{share:.4f}" aria-label="{escape(said)}"></progress></div>')


def summary(step: Step) -> str:
    """How it ended, in words."""
    failed = sum(1 for row in step.rows if row.failure)
    said = words.FINISHED if failed else words.FINISHED_ALL
    return f'<p class="dd-progress" role="status">{escape(said.format(done=step.done - failed, failed=failed))}</p>'


def table(rows: Sequence[Row], results: Results[Analysis]) -> str:
    """The list as a sortable table; failures by name below it."""
    found = [(k, row, analysis) for k, row in enumerate(rows)
             if row.failure is None and (analysis := results.get(row.key)) is not None]
    arms = list(found[0][2].arms) if found else []
    heads = [words.HEAD_NAME]
    for arm in arms:
        heads += [text.arm_name(arm), "%", f"{words.HEAD_MALIGNANT} %"]
    heads += [words.HEAD_AGREEMENT, words.HEAD_NOVELTY]
    top = "".join(f'<th scope="col" aria-sort="none"><button type="button" data-sort="{k}" aria-label="'
                  f'{escape(words.SORT.format(column=h))}">{escape(h)}</button></th>' for k, h in enumerate(heads))
    body = "".join(_row(k, row, analysis) for k, row, analysis in found)
    shown = (f'<div class="dd-scroll" tabindex="0" role="region" aria-label="{escape(words.SCROLL)}">'
             f'<table class="dd-list"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>')
    return (shown if found else "") + _failures([row.failure for row in rows if row.failure])


def _row(index: int, row: Row, analysis: Analysis) -> str:
    cells = [f'<td data-value="{escape(row.name.lower())}"><button type="button" data-open="{index}" aria-label="'
             f'{escape(words.OPEN.format(name=row.name))}">{escape(row.name)}</button></td>']
    for prediction in analysis.arms.values():
        p, malignant = prediction.probabilities[prediction.top], prediction.malignant
        cells += [_cell(full_name(prediction.top)), _cell(text.percent(p).removesuffix(" %"), p),
                  _cell("–" if malignant is None else text.percent(malignant).removesuffix(" %"), malignant or 0.0)]
    cells.append(_cell(words.AGREEMENT[analysis.agreement], css=f"is-{analysis.agreement}"))
    novelty = analysis.novelty
    cells.append(_cell("–", 0.0) if novelty is None
                 else _cell(words.NOVELTY[novelty.level], novelty.score, css=f"is-{novelty.level}"))
    return f'<tr>{"".join(cells)}</tr>'


def _cell(shown: str, value: float | None = None, *, css: str = "") -> str:
    key = shown.lower() if value is None else f"{value:.6f}"
    return f'<td class="{css}" data-value="{escape(key)}">{escape(shown)}</td>'


def _failures(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    lines = "".join(f"<li><b>{escape(f.name)}</b> <span>{escape(f.message)}</span></li>" for f in failures)
    return f'<section class="dd-card dd-failures"><h2>{escape(words.FAILURES_TITLE)}</h2><ul>{lines}</ul></section>'


def answers(rows: Sequence[Row], results: Results[Analysis]) -> list[Analysis | Failure]:
    """Results and failures in the order of the list; what is no longer kept is left out."""
    found = [row.failure or results.get(row.key) for row in rows]
    return [answer for answer in found if answer is not None]
