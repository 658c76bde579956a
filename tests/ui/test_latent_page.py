"""The Latent space tab without a browser: what a choice answers, the CSV, and what the map is told."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from typing import Any

import gradio as gr
import pytest

from dermdemo.analysis.analyser import Analyser
from dermdemo.data.images import decode_image
from dermdemo.diagnoses import full_name
from dermdemo.ui import latent_page, text
from dermdemo.ui.context import Context
from dermdemo.ui.known_map import KnownMap, Snapshot
from dermdemo.ui.tabs import latent
from dermdemo.ui.tabs.latent import Picked
from dermdemo.ui.wording import latent as words
from tests.ui.conftest import jpeg


@pytest.fixture(scope="module")
def known(served: Analyser) -> KnownMap:
    return KnownMap(served)


@pytest.fixture(scope="module")
def now(known: KnownMap) -> Snapshot:
    found = known.current()
    assert found is not None
    return found


def lasso(now: Snapshot, count: int = 12) -> dict[str, Any]:
    return {"key": now.key, "ids": list(range(count))}


def test_a_lasso_lists_its_lesions_and_both_arms_figures(known: KnownMap, now: Snapshot) -> None:
    panel, picked = latent.choose(known, Picked(), lasso(now))
    assert picked == Picked(now.key, tuple(range(12))) and panel.count("data-known=") == 12
    assert "12 images of" in panel and words.FIGURES_NOTE in panel
    for arm in ("vae", "imagenet"):
        right = int(now.known.right(arm)[:12].sum())
        assert text.arm_name(arm) in panel and f"{right} / 12" in panel
    train = int((now.known.splits[:12] == "train").sum())
    assert train and words.TRAIN_NOTE.format(n=train) in panel and words.HELD_OUT in panel


def test_a_long_list_is_cut_and_says_so(known: KnownMap, now: Snapshot) -> None:
    panel, picked = latent.choose(known, Picked(), lasso(now, 80))
    assert panel.count("data-known=") == latent_page.LISTED and len(picked.rows) == 80
    assert words.LIST_MORE.format(shown=latent_page.LISTED, n=80) in panel


def test_a_point_shows_one_lesion_and_keeps_the_selection(known: KnownMap, now: Snapshot) -> None:
    _, picked = latent.choose(known, Picked(), lasso(now))
    panel, kept = latent.choose(known, picked, {"key": now.key, "row": 30})
    assert kept == picked and "data-back" in panel and str(now.known.image_ids[30]) in panel
    assert f"/lesion/{now.key}/30.png" in panel and words.MADE in panel
    for prediction in now.predictions(30).values():
        assert text.percent(prediction.probabilities[prediction.top]) in panel
    again, _ = latent.choose(known, kept, {"back": True})
    assert "12 images of" in again
    assert "data-back" not in latent.choose(known, Picked(), {"key": now.key, "row": 30}).panel


def test_nothing_selected_is_said(known: KnownMap, now: Snapshot) -> None:
    panel, picked = latent.choose(known, Picked(now.key, (1,)), {"key": now.key, "ids": []})
    assert words.PANEL_EMPTY in panel and picked.rows == ()


@pytest.mark.parametrize("data", [{"ids": [10**6]}, {"ids": ["0"]}, {"ids": [True]}, {"ids": None}, {"row": -1},
                                  {"row": "../x"}, {"row": [1]}, {"row": None}, {}, {"ids": [0] * 10_000}])
def test_what_is_no_choice_is_refused(known: KnownMap, now: Snapshot, data: dict[str, Any]) -> None:
    panel, picked = latent.choose(known, Picked(now.key, (1,)), {"key": now.key} | data)
    assert words.INVALID in panel and picked == Picked()


def test_a_choice_on_another_atlas_is_stale(known: KnownMap, now: Snapshot) -> None:
    assert words.STALE in latent.choose(known, Picked(), {"key": "other", "ids": [0]}).panel
    with pytest.raises(gr.Error, match="Nothing is selected"):
        latent.save_csv(known, Picked("other", (0,)))


def test_without_models_the_page_says_why(context: Context) -> None:
    bare = KnownMap(None)
    assert words.MAP_NONE in latent.choose(bare, Picked(), {"key": "", "ids": []}).panel
    empty = dataclasses.replace(context, known=bare)
    assert json.loads(latent.map_value(empty, "")) == {"key": "", "n": 0}
    assert latent.follow(empty, "")[3] == ""


def test_the_csv_holds_everything_the_atlas_tells(known: KnownMap, now: Snapshot) -> None:
    file = json.loads(latent.save_csv(known, Picked(now.key, (4, 9))))
    head, *rows = csv.reader(io.StringIO(file["text"].removeprefix("\ufeff")))
    assert file["name"] == words.CSV_NAME and [r[0] for r in rows] == now.known.image_ids[[4, 9]].tolist()
    first = dict(zip(head, rows[0], strict=True))
    assert first["label"] == now.known.labels[4] and first["split"] == now.known.splits[4]
    for arm in ("vae", "imagenet"):
        labels, confidence = now.known.arms[arm]
        assert first[f"{arm}_top"] == labels[4] and float(first[f"{arm}_probability"]) == pytest.approx(confidence[4])
        assert first[f"{arm}_right"] == str(int(labels[4] == now.known.labels[4]))
    assert float(first["map_x"]) == pytest.approx(float(now.atlas.coordinates[4, 0]), abs=1e-4)


def test_formulas_in_the_atlas_stay_text(now: Snapshot) -> None:
    columns = {name: tuple(f"=1+{k}" if name == "site" else v for k, v in enumerate(values))
               for name, values in (now.atlas.columns | {"site": now.atlas.columns["label"]}).items()}
    evil = dataclasses.replace(now, atlas=dataclasses.replace(now.atlas, columns=columns))
    head, row = latent.csv_rows(evil, (2,))
    assert dict(zip(head, row, strict=True))["site"] == "'=1+2"


def test_the_map_follows_the_open_image(context: Context, served: Analyser, known: KnownMap, now: Snapshot) -> None:
    context = dataclasses.replace(context, known=known)
    key = context.results.put(served.analyse(decode_image(jpeg("mel", 5)), name="x"))
    analysis = context.opened(key)
    assert analysis is not None and analysis.position is not None
    subject, told, near, worth = latent.follow(context, key)
    value = json.loads(told)
    assert (value["x"], value["y"]) == (analysis.position.x, analysis.position.y) and "x" in subject
    assert value["near"] == [n.index for n in analysis.neighbours]
    assert re.findall(r'data-known="(\d+)"', near) == [str(n.index) for n in analysis.neighbours]
    assert all(n.image_id in near and full_name(n.label) in near for n in analysis.neighbours)
    assert words.CANNOT.split(":")[0] in worth and f"{now.atlas.meta.quality.trustworthiness:.3f}" in worth
    assert words.KNN_LATENT in worth and words.KNN_MAP in worth
    gone = latent.follow(context, "gone")
    assert "x" not in json.loads(gone[1]) and words.NEAR_EMPTY in gone[2]


def test_a_result_of_another_atlas_is_not_placed(context: Context, served: Analyser, known: KnownMap) -> None:
    context = dataclasses.replace(context, known=known)
    analysis = served.analyse(decode_image(jpeg("mel", 5)))
    key = context.results.put(dataclasses.replace(analysis, models={**analysis.models, "atlas": "other"}))
    assert "near" not in json.loads(latent.map_value(context, key))
    assert words.NEAR_STALE in latent.follow(context, key)[2]


def test_a_page_is_told_of_another_map_and_of_its_own_only_once(context: Context, known: KnownMap, now: Snapshot
                                                                ) -> None:
    context = dataclasses.replace(context, known=known)
    assert latent.again(context, "", json.dumps({"key": now.key})) == (gr.skip(),) * 4
    for told in (json.dumps({"key": "of models that were replaced"}), "{}", None, ""):
        assert json.loads(latent.again(context, "", told)[1])["key"] == now.key


def test_text_of_the_atlas_is_escaped(now: Snapshot) -> None:
    columns = now.atlas.columns | {"image_id": ("<img src=x>",) * len(now.known), "odd": ("<b>",) * len(now.known)}
    evil = dataclasses.replace(now, atlas=dataclasses.replace(now.atlas, columns=columns))
    page = latent_page.detail(evil, 3, None, back=False)
    assert "<img src=x>" not in page and "<b></dd>" not in page and "&lt;b&gt;" in page


def test_the_frame_is_a_constant_template() -> None:
    frame = latent_page.frame()
    assert not any(mark in frame for mark in ("${", "{{", "`", "\\"))
    assert json.loads(re.search(r'data-words="([^"]+)"', frame)[1].replace("&quot;", '"').replace("&#x27;", "'"))  # type: ignore[index]
