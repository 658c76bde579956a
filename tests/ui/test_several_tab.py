"""Several images without a browser: the list, its failures by name, its exports, and opening a row."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import gradio as gr
import pytest

from dermdemo.ui import batch, result, text
from dermdemo.ui.context import Context
from dermdemo.ui.tabs import several
from dermdemo.ui.tabs.several import Lists
from dermdemo.ui.wording import several as words
from tests.data.test_archives import packed
from tests.ui.conftest import jpeg, make_context


def sent(context: Context, tmp_path: Path, files: dict[str, bytes]) -> list[str]:
    paths = []
    for name, data in files.items():
        path = tmp_path / "uploads" / name
        path.write_bytes(data)
        paths.append(str(path))
    return paths


def run(context: Context, lists: Lists, paths: list[str]) -> tuple[str, str, str]:
    return list(several.analyse_files(context, lists, paths))[-1]


@pytest.fixture
def lists(context: Context) -> Lists:
    return Lists(context)


def test_files_and_zips_become_rows_and_failures_are_named(context: Context, lists: Lists, tmp_path: Path) -> None:
    zipped = packed({"in/one.jpg": jpeg("mel", 1), "in/note.txt": b"hello"})
    key, said, page = run(context, lists, sent(context, tmp_path, {
        "a.jpg": jpeg("nv", 2), "bad.png": b"<html>", "more.zip": zipped}))
    rows = lists.get(key)
    assert rows is not None and [r.name for r in rows if r.failure is None] == ["a.jpg", "in/one.jpg"]
    assert {r.name for r in rows if r.failure} == {"bad.png", "in/note.txt"}
    assert words.FINISHED.format(done=2, failed=2) in said
    assert page.count("<tr>") == 3 and "bad.png" in page and words.FAILURES_TITLE in page


def test_progress_grows_to_the_total(context: Context, tmp_path: Path) -> None:
    assert context.analyser is not None
    paths = sent(context, tmp_path, {f"{k}.jpg": jpeg("nv", k) for k in range(3)})
    steps = list(batch.analyse_all(context.analyser, context.uploads, context.results, paths))
    assert [s.done for s in steps] == [0, 1, 2, 3] and {s.total for s in steps} == {3}


def test_no_more_than_the_limit(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "LIMIT", 2)
    zipped = packed({f"{k}.jpg": b"x" for k in range(5)})
    found, failed = batch.gather(context.uploads, sent(context, tmp_path, {"a.zip": zipped, "b.jpg": b"y"}))
    assert len(found) == 2 and [f.reason for f in failed] == ["too-many", "too-many"]


def test_a_row_opens_the_result_it_names(context: Context, lists: Lists, tmp_path: Path) -> None:
    paths = sent(context, tmp_path, {"a.jpg": jpeg("nv", 2), "b.jpg": jpeg("vasc", 3)})
    key, _, _ = run(context, lists, paths)
    opened, page, tabs = several.open_row(context, lists, key, 1)
    analysis = context.opened(opened)
    assert analysis is not None and analysis.name == "b.jpg" and page == result.render(analysis)
    assert isinstance(tabs, gr.Tabs)


@pytest.mark.parametrize("row", [2, -1, "0", None, True, 10**30])
def test_a_row_that_is_not_there_is_a_sentence(context: Context, lists: Lists, tmp_path: Path, row: object) -> None:
    key, _, _ = run(context, lists, sent(context, tmp_path, {"a.jpg": jpeg("nv", 2), "b.html": b"<html>"}))
    if row is True:  # a bool is an int, and row 1 is the failure: there is nothing to open
        assert lists.get(key)[1].failure or lists.get(key)[0].failure  # type: ignore[index]
    assert words.GONE in several.open_row(context, lists, key, row)[1] or row is True


def test_names_cannot_become_markup_or_formulas(context: Context, lists: Lists, tmp_path: Path) -> None:
    names = {"=cmd()<b>.jpg": jpeg("nv", 2), "+x<script>.png": b"<html>"}
    key, _, page = run(context, lists, sent(context, tmp_path, names))
    assert "<b>.jpg" not in page and "<script>" not in page
    saved = json.loads(several.save_csv(context, lists, key))
    rows = list(csv.DictReader(io.StringIO(saved["text"].removeprefix("\ufeff"))))
    assert saved["name"] == words.CSV_NAME
    assert {r["name"] for r in rows} == {"'=cmd()<b>.jpg", "'+x<script>.png"}


def test_the_json_export_holds_every_answer(context: Context, lists: Lists, tmp_path: Path) -> None:
    key, _, _ = run(context, lists, sent(context, tmp_path, {"a.jpg": jpeg("nv", 2), "b.png": b"no"}))
    values = json.loads(json.loads(several.save_json(context, lists, key))["text"])
    assert {v["name"] for v in values} == {"a.jpg", "b.png"}
    assert [set(v["arms"]) for v in values if "arms" in v] == [{"vae", "imagenet"}]


def test_nothing_to_save_is_a_sentence(context: Context, lists: Lists) -> None:
    with pytest.raises(gr.Error, match="nothing to save"):
        several.save_csv(context, lists, "")


def test_dropping_a_list_drops_its_results(context: Context, lists: Lists, tmp_path: Path) -> None:
    key, _, _ = run(context, lists, sent(context, tmp_path, {"a.jpg": jpeg("nv", 2)}))
    assert len(context.results) == 1
    lists.drop(key)
    assert len(context.results) == 0 and lists.get(key) is None


def test_without_models_the_page_says_so(tmp_path: Path) -> None:
    bare = make_context(None, tmp_path)
    assert text.NO_MODELS_TEXT in run(bare, Lists(bare), ["x"])[1]


def test_a_path_outside_the_upload_folder_is_refused(context: Context, tmp_path: Path) -> None:
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(jpeg("nv", 1))
    found, failed = batch.gather(context.uploads, [str(outside), str(tmp_path / "uploads" / "gone.jpg")])
    assert found == [] and [f.reason for f in failed] == ["missing", "missing"]
