"""JSON and CSV: the documented schema is the real one, and no cell can be run as a formula."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dermdemo import RESEARCH_NOTICE
from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.export import analysis_to_dict, guard, to_csv_rows
from dermdemo.types import Analysis, DecodedImage, Failure

DOC = Path(__file__).resolve().parents[2] / "docs" / "analysis-schema.md"
FAILURE = Failure(name="bad.jpg", message="bad.jpg: the file is damaged.", reason="corrupt")
TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,), "number": (int, float), "string": (str,), "object": (dict,), "null": (type(None),)}


@pytest.fixture(scope="module")
def result(analyser: Analyser, pictures: list[DecodedImage]) -> Analysis:
    return analyser.analyse(pictures[0], name="lesion.png")


def documented() -> dict[str, tuple[type, ...]]:
    """Path -> Python types, from the tables of the document."""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", DOC.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len({path for path, _ in rows})
    return {path: sum((TYPES[t] for t in re.split(r", | or ", kind.strip())), ()) for path, kind in rows}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything below; an empty array or object has no leaves."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, f"{path}[]")
    else:
        yield path, value


def pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"<\w+>", r"[^.\\[]+", re.escape(path).replace(r"\<", "<").replace(r"\>", ">")))


def undocumented(values: dict[str, Any]) -> list[str]:
    """Leaves that no row describes, or whose type is another than the row says."""
    rows = [(pattern(path), types) for path, types in documented().items()]
    return [f"{path}: {value!r}" for path, value in leaves(values)
            if not any(p.fullmatch(path) and isinstance(value, types) and not isinstance(value, bool)
                       for p, types in rows)]


def test_everything_written_is_documented(result: Analysis) -> None:
    bare = dataclasses.replace(result, novelty=None, position=None, neighbours=(), notes=())
    for item in (result, bare, FAILURE):
        assert undocumented(analysis_to_dict(item, include_images=True)) == []


def test_everything_documented_is_written(result: Analysis) -> None:
    found = [path for item in (result, FAILURE) for path, _ in leaves(analysis_to_dict(item, include_images=True))]
    objects = {"novelty", "position"}
    missing = [path for path in documented() if not any(pattern(path).fullmatch(f) for f in found)]
    assert set(missing) == objects  # the rows that say when these two are null


def test_json_round_trip_and_content(result: Analysis) -> None:
    values = json.loads(json.dumps(analysis_to_dict(result), allow_nan=False))
    assert values == analysis_to_dict(result)
    assert values["notice"] == RESEARCH_NOTICE and values["schema_version"] == 1
    for arm, prediction in result.arms.items():
        assert values["arms"][arm]["probabilities"] == prediction.probabilities
    assert values["models"] == result.models
    assert values["position"] == {"x": result.position.x, "y": result.position.y}  # type: ignore[union-attr]
    assert "images" not in values


def test_images_are_png(result: Analysis) -> None:
    images = analysis_to_dict(result, include_images=True)["images"]
    with Image.open(io.BytesIO(base64.b64decode(images["inputs"]["vae"]))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), result.inputs["vae"])
    with Image.open(io.BytesIO(base64.b64decode(images["attributions"]["vae"]))) as picture:
        np.testing.assert_allclose(np.asarray(picture) / 255, result.attributions["vae"].heat, atol=0.003)


def test_csv_has_one_row_each_and_reads_back(result: Analysis) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(to_csv_rows([result, FAILURE, dataclasses.replace(result, position=None)]))
    rows = list(csv.DictReader(io.StringIO(buffer.getvalue())))
    assert [r["name"] for r in rows] == ["lesion.png", "bad.jpg", "lesion.png"]
    for arm, prediction in result.arms.items():
        assert rows[0][f"{arm}_top"] == prediction.top
        for c, p in prediction.probabilities.items():
            assert float(rows[0][f"{arm}_p_{c}"]) == pytest.approx(p, rel=1e-5)
    assert float(rows[0]["map_x"]) == pytest.approx(result.position.x, rel=1e-5)  # type: ignore[union-attr]
    assert rows[1]["error_reason"] == "corrupt" and rows[1]["vae_top"] == "" and rows[2]["map_x"] == ""
    assert all(r["notice"] == RESEARCH_NOTICE for r in rows)


def test_the_csv_columns_are_those_of_the_document(result: Analysis) -> None:
    text = DOC.read_text(encoding="utf-8").partition("## CSV")[2]
    rows = [re.compile(re.sub(r"<\w+>", r"\\w+", name)) for name in re.findall(r"`([a-z0-9_<>]{3,})`", text)]
    header = to_csv_rows([result])[0]
    assert [c for c in header if not any(r.fullmatch(c) for r in rows)] == []


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_text_cell_is_a_formula(result: Analysis, start: str) -> None:
    evil = f"{start}cmd|'/c calc'!A1"
    neighbour = dataclasses.replace(result.neighbours[0], image_id=evil, label=evil)
    arms = {"vae": dataclasses.replace(result.arms["vae"], probabilities={evil: 1.0}, prediction_set=(evil,))}
    rows = to_csv_rows([dataclasses.replace(result, name=evil, neighbours=(neighbour,), arms=arms, notes=(evil,)),
                        Failure(name=evil, message=evil, reason=evil)])
    numbers = re.compile(r"-?[\d.]+(e[-+]?\d+)?")
    for cell in (c for row in rows for c in row):
        assert not cell.startswith(start) or numbers.fullmatch(cell)
    assert rows[1][0] == f"'{evil}"


def test_guard_leaves_plain_text_alone() -> None:
    assert [guard(t) for t in ("", "mel", "a=b", "1-2")] == ["", "mel", "a=b", "1-2"]
