"""Data over HTTP: the allow-list and nothing else, uploads that leave nothing behind, registration as a task."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dermdemo.data.synthetic import write_synthetic
from dermdemo.jobs import registering
from dermdemo.ui.admin import data_routes, inbox
from dermdemo.ui.admin.data_routes import router
from dermdemo.ui.admin.inbox import Inbox
from dermdemo.ui.admin.site import AdminSite
from tests.jobs.test_datasets import relabelled, renamed
from tests.ui.admin.api_site import API, outcome, parts, serve, site  # noqa: F401  fixtures


@pytest.fixture
def client(site: AdminSite, monkeypatch: pytest.MonkeyPatch) -> TestClient:  # noqa: F811
    """Registers in this process, which saves a start of Python each time; `real_client` does not."""
    def run(command: list[str], *, input: str, **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, json.dumps(registering.answer_to(json.loads(input))), "")

    monkeypatch.setattr(registering.subprocess, "run", run)
    return serve(site, router)


@pytest.fixture
def real_client(site: AdminSite) -> TestClient:  # noqa: F811
    return serve(site, router)


@pytest.fixture(scope="session")
def new_lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lesions under names of their own, of which two classes have other labels."""
    folder = write_synthetic(tmp_path_factory.mktemp("new") / "clinic", n_lesions=60, seed=11)
    return relabelled(renamed(folder, "NEW"), {"nv": "mole", "vasc": "angioma"})


def _register(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post(f"{API}/data/register", json=body)
    assert answer.status_code == 200, answer.text
    return outcome(client, answer.json()["task"])


def _zipped(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder.parent))
    return stream.getvalue()


def _left(site: AdminSite) -> list[str]:  # noqa: F811
    return [p.name for p in (site.settings.home / inbox.FOLDER).glob("*")]


# -- the allow-list
def test_only_what_lies_on_the_allow_list_is_listed(client: TestClient, tmp_path: Path) -> None:
    root = tmp_path / "allowed"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.csv").touch()
    (root / "deep" / "er" / "est").mkdir(parents=True)
    for name in ("deep/t.csv", "deep/er/x.zip", "deep/p.parquet", "deep/photo.jpg", ".hidden.csv"):
        (root / name).touch()
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "out.csv").symlink_to(tmp_path / "outside" / "secret.csv")
    (root / "in").symlink_to(root / "deep")
    (root / "circle").symlink_to(root / "circle")
    found = client.get(f"{API}/data/folders").json()
    names = {e["name"]: e["kind"] for e in found["roots"][0]["entries"]}
    assert names.pop("own") == "folder" and {n for n in names if n.startswith("own/")}
    names = {n: k for n, k in names.items() if not n.startswith("own/")}
    deep = {"deep": "folder", "deep/er": "folder", "deep/t.csv": "csv", "deep/p.parquet": "parquet"}
    assert names == deep | {n.replace("deep", "in", 1): k for n, k in deep.items()}
    assert found["upload_limit"] == inbox.MAX_UPLOAD and found["roots"][0]["more"] is False


def test_a_long_list_is_cut_and_says_so(client: TestClient, tmp_path: Path) -> None:
    for number in range(400):
        (tmp_path / "allowed" / f"t{number:03d}.csv").touch()
    root = client.get(f"{API}/data/folders").json()["roots"][0]
    assert len(root["entries"]) == 300 and root["more"] is True


@pytest.mark.parametrize("path", [
    "/etc", "/etc/passwd", "{root}/own/../../outside", "{root}/link", "own", "{root}/no", "{root}/x\0y",
    "/" + "x" * 5000, "{root}/circle", "{root}" + "/y" * 3000,
])  # fmt: skip
def test_other_paths_are_refused_at_once(client: TestClient, site: AdminSite, tmp_path: Path,  # noqa: F811
                                         path: str) -> None:
    root = tmp_path / "allowed"
    shutil.copytree(root / "own", tmp_path / "outside")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "circle").symlink_to(root / "circle")
    answer = client.post(f"{API}/data/register", json={"path": path.replace("{root}", str(root))})
    assert answer.status_code == 400 and answer.json()["kind"] == "DataError", answer.text
    assert site.tasks.running("register") is None and site.jobs.data.listed() == ()


# -- registering a folder
def test_a_folder_is_registered_and_shown_in_detail(client: TestClient, site: AdminSite,  # noqa: F811
                                                    tmp_path: Path) -> None:
    done = _register(client, path=str(tmp_path / "allowed" / "own"), name=" own data ")
    assert (done["state"], done["result"], done["error"]) == ("done", {"id": "d0001"}, None)
    assert done["unknown_labels"] == [] == done["classes"]
    found = client.get(f"{API}/data/d0001").json()
    data = site.jobs.data.get("d0001")
    assert (found["name"], found["who"], found["source"]) == ("own data", "ada", str(tmp_path / "allowed" / "own"))
    assert set(found["split"]) == {"train", "val", "calib", "test"}
    assert sum(s["images"] for s in found["split"].values()) == data.images == found["images"]
    assert sum(s["groups"] for s in found["split"].values()) == data.groups
    assert found["split"]["train"]["classes"].keys() == set(data.classes)
    assert found["audit"]["split_hash"] == found["split_hash"] == data.split_hash
    assert found["duplicates"] == {"pairs": 0, "examples": [], "across_splits": 0}
    assert found["overlap"] == {"version": 0, "compared": "by ids: the data the models were made from",
                                "trained_on": data.known, "test_outside_test": 0}
    entry = site.registry.log.read()[-1]
    assert (entry.who, entry.action, entry.data_hash) == ("ada", "register-data", data.data_hash)


def test_unknown_labels_come_back_with_the_classes_to_map_them_to(client: TestClient, new_lesions: Path,
                                                                  tmp_path: Path) -> None:
    shutil.copytree(new_lesions, tmp_path / "allowed" / "clinic")
    path = str(tmp_path / "allowed" / "clinic")
    failed = _register(client, path=path, names_only=True)
    assert failed["state"] == "failed" and "do not know the classes angioma, mole" in failed["error"]
    assert failed["unknown_labels"] == ["angioma", "mole"] and "nv" in failed["classes"]
    done = _register(client, path=path, names_only=True, mapping={"mole": "nv", "angioma": "vasc"})
    assert done["result"] == {"id": "d0001"}
    found = client.get(f"{API}/data/d0001").json()
    assert found["copied"] and found["overlap"]["compared"] == "by ids only" and found["notes"]


def test_refused_data_say_why_and_are_not_there(client: TestClient, site: AdminSite, tmp_path: Path) -> None:  # noqa: F811
    failed = _register(client, path=str(tmp_path / "allowed" / "own"), split_seed=5)
    assert failed["state"] == "failed" and "test lesions of the live models" in failed["error"]
    assert failed["unknown_labels"] == [] and site.jobs.data.listed() == ()


@pytest.mark.slow
def test_one_registration_at_a_time(real_client: TestClient, site: AdminSite, tmp_path: Path) -> None:  # noqa: F811
    client = real_client
    body = {"path": str(tmp_path / "allowed" / "own")}
    first, second = (client.post(f"{API}/data/register", json=body) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 409) and "wait for its end" in second.json()["error"]
    assert outcome(client, first.json()["task"])["result"] == {"id": "d0001"}
    assert len(site.jobs.data.listed()) == 1


@pytest.mark.parametrize("body", [
    {}, {"path": "/x", "upload": "y"}, {"path": 3}, {"upload": ["x"]}, {"path": "/x", "who": "eve"},
    {"upload": "y", "split_seed": -1}, {"upload": "y", "split_seed": 1.5}, {"upload": "y", "split_seed": True},
    {"upload": "y", "mapping": {"a": 1}}, {"upload": "y", "mapping": [["a", "b"]]}, {"upload": "y", "name": "x" * 81},
    {"upload": "y", "name": "a\nb"}, {"upload": "y", "names_only": "yes"}, {"upload": "../../etc/passwd"},
    {"upload": "0" * 32}, {"upload": "y", "mapping": {"x" * 201: "nv"}},
])  # fmt: skip
def test_other_registrations_are_refused(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post(f"{API}/data/register", json=body)
    assert answer.status_code == 400 and answer.json()["error"], answer.text


# -- uploads
def test_a_zip_is_sent_refused_mapped_and_registered(client: TestClient, site: AdminSite,  # noqa: F811
                                                     new_lesions: Path) -> None:
    data = _zipped(new_lesions)
    sent = client.post(f"{API}/data/upload", content=data, headers={"X-File-Name": "clinic%20%C3%A4%0A.zip"}).json()
    assert sent["name"] == "clinic ä.zip" and sent["bytes"] == len(data)
    file = next((site.settings.home / inbox.FOLDER).iterdir())
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    failed = _register(client, upload=sent["upload"], name="clinic", names_only=True)
    assert failed["unknown_labels"] == ["angioma", "mole"] and file.exists(), "to be mapped it must still be there"
    done = _register(client, upload=sent["upload"], name="clinic", names_only=True,
                     mapping={"mole": "nv", "angioma": "vasc"})
    assert done["state"] == "done" and _left(site) == []
    assert client.get(f"{API}/data/{done['result']['id']}").json()["copied"] is True
    assert client.post(f"{API}/data/register", json={"upload": sent["upload"]}).status_code == 400


def test_a_zip_on_the_allow_list_is_copied_as_an_upload_is(client: TestClient, new_lesions: Path, tmp_path: Path
                                                           ) -> None:
    path = tmp_path / "allowed" / "clinic.zip"
    path.write_bytes(_zipped(new_lesions))
    done = _register(client, path=str(path), names_only=True, mapping={"mole": "nv", "angioma": "vasc"})
    assert done["state"] == "done", done["error"]
    assert client.get(f"{API}/data/d0001").json()["copied"] is True and path.exists()


def test_what_is_no_zip_is_refused_and_gone(client: TestClient, site: AdminSite) -> None:  # noqa: F811
    for content in (b"", b"PK", b"%PDF-1.7"):
        answer = client.post(f"{API}/data/upload", content=content)
        assert answer.status_code == 400 and "no zip" in answer.json()["error"]
    assert _left(site) == []


def _small(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(data_routes, "Inbox", lambda home: Inbox(home, limit=limit))


@pytest.mark.parametrize("said", [True, False])
def test_too_large_an_upload_is_refused_and_gone(client: TestClient, site: AdminSite,  # noqa: F811
                                                 monkeypatch: pytest.MonkeyPatch, said: bool) -> None:
    _small(monkeypatch, 3 << 20)
    monkeypatch.setattr(inbox, "BLOCK", 1 << 16)
    block = b"PK\x03\x04" + bytes(1 << 20)
    content = block * 4 if said else (block for _ in range(4))
    answer = client.post(f"{API}/data/upload", content=content)
    assert answer.status_code == 413 and "larger" in answer.json()["error"] and _left(site) == []


def test_a_disk_that_is_nearly_full_takes_no_upload(client: TestClient, site: AdminSite,  # noqa: F811
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "SPARE_DISK", 1 << 62)
    answer = client.post(f"{API}/data/upload", content=b"PK\x03\x04")
    assert answer.status_code == 400 and "too little space" in answer.json()["error"] and _left(site) == []


@pytest.mark.parametrize("error", [ConnectionError("gone"), OSError(28, "No space left on device")])
def test_an_upload_that_is_broken_off_leaves_nothing(client: TestClient, site: AdminSite,  # noqa: F811
                                                     error: OSError) -> None:
    def broken() -> Any:
        yield b"PK\x03\x04" + bytes(2 << 20)
        raise error

    with pytest.raises(OSError, match=str(error.args[-1])):
        client.post(f"{API}/data/upload", content=broken())
    assert _left(site) == []


def test_orphans_are_removed_after_an_hour(client: TestClient, site: AdminSite) -> None:  # noqa: F811
    folder = site.settings.home / inbox.FOLDER
    folder.mkdir(parents=True)
    for name, age in (("a.zip", 3700), ("b.zip.part", 3700), ("c.zip", 3500), ("d.zip.part", 10)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age,) * 2)
    client.get(f"{API}/data/folders")
    assert sorted(_left(site)) == ["c.zip", "d.zip.part"]


# -- who
@pytest.mark.parametrize(("method", "path"), [
    ("GET", "data/folders"), ("POST", "data/upload"), ("POST", "data/register"), ("GET", "tasks/x"),
    ("GET", "data/d0001"),
])  # fmt: skip
def test_nobody_else_is_answered(client: TestClient, site: AdminSite, tmp_path: Path,  # noqa: F811
                                 method: str, path: str) -> None:
    answer = client.request(method, f"{API}/{path}", headers={"X-Test-Admin": ""}, content=b"PK\x03\x04")
    assert answer.status_code == 401 and _left(site) == [] and site.tasks.running("register") is None


@pytest.mark.parametrize("path", ["data/d0009", "data/..", "data/x%00", "tasks/0", "tasks/" + "0" * 32])
def test_unknown_ones_are_not_found(client: TestClient, path: str) -> None:
    assert client.get(f"{API}/{path}").status_code == 404
