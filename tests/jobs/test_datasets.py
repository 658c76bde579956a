"""Registration: allow-list, classes, and no test lesion of the live models where it could be learnt."""

from __future__ import annotations

import csv
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from dermdemo.data.readable import prepare
from dermdemo.data.sources import load_source
from dermdemo.data.splits import make_split
from dermdemo.data.synthetic import write_synthetic
from dermdemo.errors import DataError
from dermdemo.jobs.datasets import Catalogue, Offer
from dermdemo.jobs.registry import Registry

ADA = Offer(who="ada", name="set")


def renamed(folder: Path, prefix: str) -> Path:
    """The same lesions under other names."""
    table = next(folder.glob("*.csv"))
    table.write_text(table.read_text().replace("SYN", prefix))
    for image in sorted(folder.rglob("*.jpg")):
        image.rename(image.with_name(image.name.replace("SYN", prefix)))
    return folder


def relabelled(folder: Path, labels: dict[str, str]) -> Path:
    """Other labels in the table of a folder."""
    path = next(folder.glob("*.csv"))
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    with path.open("w") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**r, "dx": labels.get(r["dx"], r["dx"])} for r in rows)
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """New lesions, under names of their own."""
    return renamed(write_synthetic(tmp_path_factory.mktemp("drawn") / "new", n_lesions=60, seed=11), "NEW")


@pytest.fixture
def data(make_set: Callable[[int], Path], tmp_path: Path, lesion_folder: Path, drawn: Path) -> Catalogue:
    root = tmp_path / "allowed"
    shutil.copytree(lesion_folder, root / "own")
    shutil.copytree(drawn, root / "new")
    return Catalogue(tmp_path / "home", (root,), Registry(tmp_path / "home", make_set(0)))


def _root(data: Catalogue) -> Path:
    return data.roots[0]


def test_the_live_models_own_data_and_then_new_data(data: Catalogue) -> None:
    own = data.add_folder(str(_root(data) / "own"), ADA)
    assert (own.id, own.images, own.live_version, own.notes, own.copied) == ("d0001", own.images, 0, (), False)
    assert own.known > 0.6 * own.images
    new = data.add_folder(str(_root(data) / "new"), ADA)
    assert new.known == 0 and new.id == "d0002" and data.listed() == (own, new) and data.get("d0002") == new
    table, split = prepare(new.source, split_seed=0)
    assert (table.data_hash(), split.hash) == (new.readable_hash, new.split_hash)
    assert data.check(new).data_hash() == new.data_hash
    entries = data.registry.log.read()
    assert [e.action for e in entries] == ["register-data"] * 2 and entries[1].data_hash == new.data_hash


def test_data_that_changed_since_are_refused(data: Catalogue) -> None:
    own = data.add_folder(str(_root(data) / "own"), ADA)
    relabelled(_root(data) / "own", {"nv": "mel"})
    with pytest.raises(DataError, match="has changed since"):
        data.check(own)


@pytest.mark.parametrize("path", ["/etc", "own/../../outside", "link", ""])
def test_only_the_allow_list_is_read(data: Catalogue, tmp_path: Path, path: str) -> None:
    shutil.copytree(_root(data) / "new", tmp_path / "outside")
    (_root(data) / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="DERMDEMO_DATA"):
        data.add_folder(path if path.startswith("/") or not path else str(_root(data) / path), ADA)


def test_a_table_that_names_files_elsewhere_is_refused(data: Catalogue, tmp_path: Path) -> None:
    image = next((_root(data) / "new").rglob("*.jpg"))
    shutil.copy(image, tmp_path / "secret.jpg")
    (_root(data) / "sly").mkdir()
    (_root(data) / "sly" / "t.csv").write_text(f"image,label\n{tmp_path}/secret.jpg,nv\n")
    with pytest.raises(DataError, match="DERMDEMO_DATA"):
        data.add_folder(str(_root(data) / "sly"), ADA)


def test_without_the_live_models_data_pictures_cannot_be_compared(data: Catalogue) -> None:
    with pytest.raises(DataError, match="register the data the live models were made from first"):
        data.add_folder(str(_root(data) / "new"), ADA)
    found = data.add_folder(str(_root(data) / "new"), Offer(who="ada", names_only=True))
    assert "ids only" in found.notes[0]


def test_test_lesions_are_refused_by_id(data: Catalogue) -> None:
    """The live models' own lesions, split by another seed: some of their test lesions would be trained on."""
    with pytest.raises(DataError, match=r"test lesions of the live models, by their ids"):
        data.add_folder(str(_root(data) / "own"), Offer(who="ada", split_seed=5))


def test_test_lesions_under_other_names_are_refused_by_picture(data: Catalogue) -> None:
    data.add_folder(str(_root(data) / "own"), ADA)
    renamed(_root(data) / "own", "OTHER")
    with pytest.raises(DataError, match="by their pictures"):
        data.add_folder(str(_root(data) / "own"), Offer(who="ada", split_seed=5))


def test_one_test_lesion_scaled_and_hidden_among_new_ones_is_found(data: Catalogue) -> None:
    own = data.add_folder(str(_root(data) / "own"), ADA)
    table = load_source(own.source)
    row = make_split(table, seed=0).rows("test")[0]
    folder = _root(data) / "new"
    target = make_split(load_source(folder), seed=0).rows("train")[0]
    hidden = next(folder.rglob(f"{load_source(folder).frame['image_id'].iat[target]}.jpg"))
    with Image.open(table.frame["locator"].iat[row]) as image:
        image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(hidden, quality=90)
    with pytest.raises(DataError, match=f"1 images .*by their pictures.*{hidden.stem}"):
        data.add_folder(str(folder), ADA)


def test_unknown_classes_are_refused_or_mapped(data: Catalogue) -> None:
    relabelled(_root(data) / "new", {"nv": "mole", "vasc": "angioma"})
    offer = Offer(who="ada", names_only=True)
    with pytest.raises(DataError, match="do not know the classes angioma, mole"):
        data.add_folder(str(_root(data) / "new"), offer)
    with pytest.raises(DataError, match="not angioma to blood"):
        data.add_folder(str(_root(data) / "new"), Offer(who="ada", mapping={"angioma": "blood", "mole": "nv"}))
    mapping = {"mole": "nv", "angioma": "vasc"}
    found = data.add_folder(str(_root(data) / "new"), Offer(who="ada", names_only=True, mapping=mapping))
    assert found.copied and found.mapping == mapping
    table, split = prepare(found.source, split_seed=0)
    assert set(table.frame["label"]) == set(found.classes) and split.hash == found.split_hash
    assert {"sex", "age", "localization"} <= set(table.frame)


def test_a_class_the_live_models_know_must_be_there(data: Catalogue) -> None:
    relabelled(_root(data) / "new", {"df": "junk"})
    with pytest.raises(DataError, match="fewer than 4 lesions of df"):
        data.add_folder(str(_root(data) / "new"), Offer(who="ada", names_only=True, mapping={"junk": ""}))


def test_a_zip_is_registered_and_kept(data: Catalogue, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as archive:
        for path in sorted((_root(data) / "new").rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(_root(data)))
    found = data.add_zip(tmp_path / "up.zip", Offer(who="ada", name="clinic", names_only=True))
    shutil.rmtree(_root(data) / "new")
    (tmp_path / "up.zip").unlink()
    assert data.check(found).data_hash() == found.data_hash
    assert found.copied and Path(found.source).is_relative_to(tmp_path / "home")
    assert prepare(found.source, split_seed=0)[1].hash == found.split_hash


def test_a_refused_upload_leaves_nothing(data: Catalogue, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as archive:
        archive.write(next((_root(data) / "new").rglob("*.jpg")), "nv/a.jpg")
    with pytest.raises(DataError, match="fewer than 4 lesions"):
        data.add_zip(tmp_path / "up.zip", ADA)
    assert data.listed() == () and [p.name for p in (tmp_path / "home" / "data").iterdir()] == []


@pytest.mark.parametrize("name", ["d0009", "../d0001", "", "x/y"])
def test_an_unknown_data_set_is_an_error(data: Catalogue, name: str) -> None:
    with pytest.raises(DataError, match="no data set"):
        data.get(name)


def test_what_a_killed_registration_left_goes_after_a_day(data: Catalogue) -> None:
    folder = data.home / "data"
    left, recent, kept = folder / ".upload.x", folder / ".new.y", folder / "d0001"
    for path in (left, recent, kept):
        (path / "lesions").mkdir(parents=True)
    for path in (left, kept):
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    data.sweep()
    assert not left.exists() and recent.exists() and kept.exists()
