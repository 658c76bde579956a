"""The map's routes: raw HTTP against the app, and the points themselves."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.known import KnownImages
from dermdemo.data.synthetic import write_synthetic
from dermdemo.ui.known_map import ASSETS, KnownMap, Snapshot
from dermdemo.ui.map_routes import add_map_routes


@pytest.fixture(scope="module")
def known(served: Analyser) -> KnownMap:
    return KnownMap(served)


@pytest.fixture(scope="module")
def now(known: KnownMap) -> Snapshot:
    found = known.current()
    assert found is not None
    return found


def client(known: KnownMap) -> TestClient:
    app = FastAPI()
    add_map_routes(app, ASSETS, known)
    return TestClient(app)


def test_the_points_are_those_of_the_atlas(known: KnownMap, now: Snapshot) -> None:
    body = client(known).get(f"{ASSETS}/map/{now.key}.json").json()
    np.testing.assert_allclose(np.array([body["x"], body["y"]]).T, now.atlas.coordinates, atol=6e-4)
    assert body["ids"] == now.known.image_ids.tolist()
    for column in body["columns"]:
        assert len(column["codes"]) == len(now.known)
        assert set(column["codes"]) == set(range(len(column["categories"])))
    columns = {c["name"]: c for c in body["columns"]}
    assert {"label", "split", "vae_top", "vae_outcome", "imagenet_confidence", "compared"} <= set(columns)
    named = [columns["label"]["categories"][k]["key"] for k in columns["label"]["codes"]]
    assert named == now.known.labels.tolist()
    outcome = [columns["vae_outcome"]["categories"][k]["label"] for k in columns["vae_outcome"]["codes"]]
    assert [o == "right" for o in outcome] == now.known.right("vae").tolist()


def test_the_answer_is_packed_and_kept_for_ever(known: KnownMap, now: Snapshot) -> None:
    answer = client(known).get(f"{ASSETS}/map/{now.key}.json")
    assert answer.headers["content-encoding"] == "gzip" and "immutable" in answer.headers["cache-control"]
    plain = client(known).get(f"{ASSETS}/map/{now.key}.json", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.content == answer.content == now.points.plain
    assert gzip.decompress(now.points.zipped) == now.points.plain


def test_the_key_follows_the_content(served: Analyser, store: Path, now: Snapshot) -> None:
    assert KnownMap(served).current().key == now.key  # type: ignore[union-attr]
    analyser = Analyser(store, device="cpu")
    changing = KnownMap(analyser)
    assert changing.current().key == now.key  # type: ignore[union-attr]
    shutil.rmtree(store / "atlas")
    analyser.reload()
    assert changing.current() is None and changing.picture(now.key, 0) is None


def test_predictions_of_a_replaced_arm_are_left_out(store: Path, make: Any, now: Snapshot) -> None:
    make.arm(store / "imagenet-arm", "imagenet", seed=77)
    found = KnownMap(Analyser(store, device="cpu")).current()
    assert found is not None and found.missing == ("imagenet",) and found.key != now.key
    names = {c["name"] for c in json.loads(found.points.plain)["columns"]}
    assert "vae_top" in names and not names & {"imagenet_top", "compared"}


def test_a_picture_is_the_reconstruction(served: Analyser, known: KnownMap, now: Snapshot) -> None:
    answer = client(known).get(f"{ASSETS}/lesion/{now.key}/7.png")
    assert answer.headers["content-type"] == "image/png" and "immutable" in answer.headers["cache-control"]
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(answer.content))), served.known_pictures([7])[0])


def test_with_the_data_set_it_is_the_real_image(served: Analyser, now: Snapshot, tmp_path: Path) -> None:
    images = KnownImages(write_synthetic(tmp_path / "lesions", n_lesions=90, seed=3))
    known = KnownMap(served, images)
    real = known.current()
    assert real is not None and real.real.all() and real.key != now.key and known.source == "lesions"
    answer = client(known).get(f"{ASSETS}/lesion/{real.key}/7.png")
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(answer.content))),
                                  images.picture(str(real.known.image_ids[7])))
    for path in (tmp_path / "lesions").rglob("*.jpg"):
        path.unlink()
    assert client(known).get(f"{ASSETS}/lesion/{real.key}/8.png").status_code == 404  # no other picture in its place


@pytest.mark.parametrize("path", ["map/other.json", "map/.json", "lesion/other/0.png", "lesion/{key}/99999999.png",
                                  "lesion/{key}/-1.png", "lesion/{key}/1.5.png", "lesion/{key}/..%2F0.png",
                                  "lesion/{key}/%D9%A3.png", "lesion/{key}/1e1.png", "lesion/{key}/.png",
                                  "lesion/{key}/0.jpg", "lesion/{key}/" + "9" * 5000 + ".png"])
def test_anything_else_is_not_there(app: str, now: Snapshot, path: str) -> None:
    assert httpx.get(f"{app}{ASSETS}/{path.format(key=now.key)}").status_code in (404, 414)


def test_the_app_serves_map_and_pictures(app: str, now: Snapshot) -> None:
    answer = httpx.get(f"{app}{ASSETS}/map/{now.key}.json")
    assert answer.status_code == 200 and "content-security-policy" in answer.headers
    assert httpx.get(f"{app}{ASSETS}/lesion/{now.key}/0.png").content.startswith(b"\x89PNG")
    for name in ("latent_map", "latent_hands"):
        script = httpx.get(f"{app}{ASSETS}/{name}.js")
        assert script.status_code == 200 and script.headers["cache-control"] == "no-cache"
