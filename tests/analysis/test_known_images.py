"""Real pictures of the known lesions, from a data set on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import app
from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.known import SIDE, KnownImages
from dermdemo.data.images import decode_image, to_input
from dermdemo.data.synthetic import write_synthetic
from dermdemo.errors import DataError
from dermdemo.types import InputSpec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("known") / "lesions", n_lesions=90, seed=3)


@pytest.fixture(scope="module")
def images(folder: Path) -> KnownImages:
    return KnownImages(folder)


def test_the_picture_is_the_models_view_of_the_file(images: KnownImages, lesions: Any) -> None:
    image_id = lesions.table.frame["image_id"].iat[5]
    expected = to_input(decode_image(lesions.table.read(5)).pixels, InputSpec(size=SIDE))
    np.testing.assert_array_equal(images.picture(image_id), expected)
    assert expected.shape == (SIDE, SIDE, 3) and image_id in images and images.name == "lesions"


def test_an_unknown_image_is_refused(images: KnownImages) -> None:
    assert "../../etc/passwd" not in images and 3 not in images
    with pytest.raises(DataError, match="There is no image"):
        images.picture("../../etc/passwd")


def test_a_file_that_has_gone_is_an_error(tmp_path: Path) -> None:
    images = KnownImages(write_synthetic(tmp_path / "lesions", n_lesions=7, seed=1))
    for path in (tmp_path / "lesions").rglob("*.jpg"):
        path.unlink()
    with pytest.raises(DataError, match="Cannot read"):
        images.picture(next(iter(images._rows)))


def test_another_data_set_is_told_from_the_atlas_own(images: KnownImages, analyser: Analyser) -> None:
    assert analyser.atlas is not None
    ids = list(map(str, analyser.atlas.columns["image_id"]))
    assert images.require(ids) == len(ids) and images.require([ids[0], "other"]) == 1
    with pytest.raises(DataError, match="another data set"):
        images.require(["other"])


def test_the_flag_ends_with_a_sentence(analyser: Analyser, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--data: There is nothing at"):
        app.known_images(str(tmp_path / "nothing"), analyser)
    (tmp_path / "other").mkdir()
    for label in ("mel", "nv"):
        (tmp_path / "other" / label).mkdir()
        (tmp_path / "other" / label / "a.jpg").write_bytes(next(folder.rglob("*.jpg")).read_bytes())
    with pytest.raises(SystemExit, match="--data: None of the atlas"):
        app.known_images(str(tmp_path / "other"), analyser)
    assert app.known_images(str(folder), None) is None
    found = app.known_images(str(folder), analyser)
    assert found is not None and len(found) == len(analyser.atlas or ())


def test_tables_are_read_only_where_a_source_is_given() -> None:
    code = "import sys; import dermdemo.analysis.known; raise SystemExit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
