"""Launching over HTTP: what can be chosen, what is checked, and that no body makes anything but an answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dermdemo.config import PRESETS
from dermdemo.errors import JobError
from dermdemo.jobs import costs, machine, speeds
from dermdemo.jobs.datasets import Offer
from dermdemo.jobs.machine import Gpu
from dermdemo.jobs.plan import KNOBS, Recipe, RetrainRequest
from dermdemo.jobs.speeds import Speeds
from dermdemo.types import Speed, SpeedReport
from dermdemo.ui.admin.launch_routes import router
from dermdemo.ui.admin.site import AdminSite
from dermdemo.ui.wording import knobs as words
from tests.ui.admin.api_site import API, parts, serve, site  # noqa: F401  fixtures
from tests.ui.admin.test_tasks import ended


@pytest.fixture
def client(site: AdminSite) -> TestClient:  # noqa: F811
    """With the live models' own data registered."""
    site.jobs.data.add_folder(str(site.jobs.data.roots[0] / "own"), Offer(who="ada"))
    return serve(site, router)


def report(*sizes: int) -> SpeedReport:
    """As if this machine had been measured."""
    found = tuple(Speed(stage=stage, size=size, batch=16, train=0.02, evaluate=0.01, frozen=0.01, save=0.1,
                        idle=10**9, active=1000.0, kept=100, gpu_idle=0, gpu_active=0.0, parameters=10**6,
                        trained=10**6) for stage in ("pretrain", "train") for size in sizes)  # fmt: skip
    return SpeedReport(start=5.0, table=0.1, decode=0.01, compare=1e-7, images=32, share=1.0, speeds=found)


@pytest.fixture
def known_speed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Measuring answers at once; returns what was asked."""
    asked: list[dict[str, Any]] = []

    def run(request: dict[str, Any], *_: Any, **__: Any) -> SpeedReport:
        asked.append(request)
        return report(64, 128)

    monkeypatch.setattr(speeds, "run", run)
    return asked


# -- what can be chosen
def test_recipes_have_a_value_for_every_knob(client: TestClient) -> None:
    found = client.get(f"{API}/launch").json()
    names = [k["name"] for k in found["knobs"]]
    assert names == [f"{stage}.{name}" for stage, known in KNOBS.items() for name in known]
    assert [r["name"] for r in found["recipes"]] == list(get_args(Recipe))
    for recipe in found["recipes"]:
        assert list(recipe["values"]) == names and "Stage I: " in recipe["expects"]
        request = RetrainRequest(data="d0001", recipe=recipe["name"],
                                 knobs={k: str(v) for k, v in recipe["values"].items()})
        for stage in KNOBS:
            config, preset = request.config(stage), PRESETS[stage][recipe["name"]].config
            assert all(getattr(config, k) == getattr(preset, k) for k in KNOBS[stage]), "defaults change nothing"
    assert found["gates"] == ["calib", "val"] and "cores" in found["machine"]


def test_knobs_have_the_types_of_their_fields_and_words(client: TestClient) -> None:
    found = {k["name"]: k for k in client.get(f"{API}/launch").json()["knobs"]}
    assert found.keys() == words.KNOBS.keys()
    types = {name: found[name]["type"] for name in ("train.lr", "train.views", "train.alpha", "train.schedule")}
    assert types == {"train.lr": "number", "train.views": "integer", "train.alpha": "choice",
                     "train.schedule": "text"}
    assert found["train.alpha"]["choices"] == ["none", "sqrt", "inverse"] and found["train.lr"]["choices"] == []
    assert found["pretrain.kl_warmup"]["choices"] == ["none", "linear", "cyclical"]
    assert all(k["label"] and k["help"].endswith(".") and k["stage"] in KNOBS for k in found.values())


def _devices(client: TestClient) -> dict[str, dict[str, Any]]:
    return {d["name"]: d for d in client.get(f"{API}/launch").json()["devices"]}


def test_a_device_is_usable_only_where_it_is(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "torch_has_cuda", lambda: True)
    monkeypatch.setattr(machine, "gpus", lambda: ())
    found = _devices(client)
    assert found["cpu"]["usable"] and not found["cuda"]["usable"] and found["cuda"]["note"] == words.NO_GPU
    assert "slurm" not in found
    monkeypatch.setattr(machine, "gpus", lambda: (Gpu("GPU-a", "NVIDIA H100"),))
    assert _devices(client)["cuda"]["usable"] and "NVIDIA H100" in _devices(client)["cuda"]["note"]
    monkeypatch.setattr(machine, "torch_has_cuda", lambda: False)
    assert _devices(client)["cuda"] == {"name": "cuda", "limit": 0, "usable": False, "note": words.NO_CUDA_TORCH}


# -- check
def test_a_check_measures_once_and_then_has_the_cost(client: TestClient, known_speed: list[dict[str, Any]],
                                                     site: AdminSite) -> None:  # noqa: F811
    body = {"data": "d0001", "stage1": True, "knobs": {"train.lr": "0.002"}}
    first = client.post(f"{API}/launch/check", json=body).json()
    assert first["cost"] is None and first["cost_problem"] is None
    seen = ended(site.tasks, first["cost_task"])
    assert seen.state == "done", seen
    second = client.post(f"{API}/launch/check", json=body).json()
    assert second["cost"] == json.loads(json.dumps(seen.result["cost"])) and second["cost_task"] is None
    cost = second["cost"]
    assert 0 < cost["seconds_low"] < cost["seconds_high"] and cost["memory_bytes"] and cost["disk_bytes"]
    assert "measured on this machine" in cost["basis"].lower() and cost["gpu_memory_bytes"] is None
    assert any("train.lr = 0.002" in line for line in second["summary"]) and "d0001" in second["summary"][0]
    assert len(known_speed) == 1 and {s["stage"] for s in known_speed[0]["stages"]} == {"pretrain", "train"}
    assert site.jobs.jobs.tick() == [], "a check queues nothing"
    assert [e.action for e in site.registry.log.read()] == ["register-data"]


def test_without_stage_one_its_speed_is_not_asked_for(client: TestClient, known_speed: list[dict[str, Any]],
                                                      site: AdminSite) -> None:  # noqa: F811
    ended(site.tasks, client.post(f"{API}/launch/check", json={"data": "d0001"}).json()["cost_task"])
    assert [s["stage"] for s in known_speed[0]["stages"]] == ["train"] and known_speed[0]["encoder"]


@pytest.fixture
def slow_measuring(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    gate = threading.Event()

    def run(*_: Any, **__: Any) -> SpeedReport:
        gate.wait(30)
        raise JobError("The speed of this machine could not be measured: no memory.")

    monkeypatch.setattr(speeds, "run", run)
    yield gate
    gate.set()


def test_two_checks_share_a_measurement_and_its_failure_is_said(client: TestClient, slow_measuring: threading.Event,
                                                                site: AdminSite) -> None:  # noqa: F811
    first, second = (client.post(f"{API}/launch/check", json={"data": "d0001", "stage1": s}).json()
                     for s in (True, False))
    assert first["cost_task"] == second["cost_task"]
    slow_measuring.set()
    seen = ended(site.tasks, first["cost_task"])
    assert (seen.state, seen.error) == ("failed", "The speed of this machine could not be measured: no memory.")


def test_too_little_of_anything_is_a_warning(client: TestClient, site: AdminSite,  # noqa: F811
                                             known_speed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
                                             ) -> None:
    body = {"data": "d0001", "hours": 0.001}
    data, request = site.jobs.data.get("d0001"), RetrainRequest(data="d0001")
    costs.Costs(site.jobs.data).measure(request, data, "convnext_atto")
    assert Speeds(site.jobs.data.home).all()
    monkeypatch.setattr(machine, "memory", lambda: (2**20, 2**20))
    monkeypatch.setattr("dermdemo.ui.admin.launch_routes.free_bytes", lambda _: 2**20)
    found = client.post(f"{API}/launch/check", json=body).json()["warnings"]
    assert len(found) == 3 and "0.001 hours" in found[0] and "memory" in found[1] and "disk" in found[2]


REFUSED = [
    ({"data": "d0009"}, "no data set"), ({"data": "d0001", "recipe": "x"}, "recipe"), ({}, "data"),
    ({"data": "d0001", "device": "tpu"}, "device"), ({"data": "d0001", "device": "slurm"}, "slurm"),
    ({"data": "d0001", "gate": "test"}, "gate"), ({"data": "d0001", "seed": -1}, "seed"),
    ({"data": "d0001", "hours": 0}, "hours"), ({"data": "d0001", "hours": 1e6}, "hours"),
    ({"data": "d0001", "base": 7}, "no version 7"), ({"data": "d0001", "base": -1}, "version"),
    ({"data": "d0001", "knobs": {"train.seed": "1"}}, "no knob"),
    ({"data": "d0001", "knobs": {"lr": "1"}}, "no knob"),
    ({"data": "d0001", "knobs": {"train.lr": "0"}}, "learning rate"),
    ({"data": "d0001", "knobs": {"train.lr": 0.1}}, "knobs"), ({"data": "d0001", "knobs": ["train.lr"]}, "knobs"),
    ({"data": "d0001", "knobs": {"pretrain.latent": "100000"}}, "latent"),
    ({"data": "d0001", "knobs": {"train.views": "1000"}}, "views"),
    ({"data": "d0001", "stage1": "yes"}, "stage1"), ({"data": "d0001", "who": "eve"}, "who"),
    ({"data": "d0001", "seed": True}, "seed"), ({"data": "d0001", "hours": 10**400}, "hours"),
    ({"data": "d0001", "seed": 1.5}, "seed"), ({"data": 1}, "data"),
]  # fmt: skip


@pytest.mark.parametrize("route", ["launch/check", "launch"])
def test_what_does_not_work_is_refused_in_the_settings_own_words(client: TestClient, site: AdminSite,  # noqa: F811
                                                                 route: str) -> None:
    for body, said in REFUSED:
        answer = client.post(f"{API}/{route}", json=body)
        assert answer.status_code == 400 and said in answer.json()["error"], (body, answer.text)
    assert site.jobs.jobs.tick() == [] and site.tasks.running("measure") is None


# -- launch
def test_a_job_is_launched_by_whoever_is_logged_in(client: TestClient, site: AdminSite) -> None:  # noqa: F811
    body = {"data": "d0001", "stage1": True, "knobs": {"train.schedule": "64x2"}, "dry_run": False}
    answer = client.post(f"{API}/launch", json=body, headers={"X-Test-Admin": "ben"})
    assert answer.json() == {"id": "0001"}
    record = site.jobs.jobs.view("0001").record
    assert record.who == "ben" and json.loads(record.request["knobs"]) == {"train.schedule": "64x2"}
    entry = site.registry.log.read()[-1]
    assert (entry.who, entry.action) == ("ben", "launch")


def test_a_device_that_is_not_there_launches_nothing(client: TestClient, site: AdminSite,  # noqa: F811
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: ())
    answer = client.post(f"{API}/launch", json={"data": "d0001", "device": "cuda"})
    assert answer.status_code == 400 and "cuda" in answer.json()["error"] and site.jobs.jobs.tick() == []


@pytest.mark.parametrize(("method", "path"), [("GET", "launch"), ("POST", "launch/check"), ("POST", "launch")])
def test_nobody_else_is_answered(client: TestClient, site: AdminSite, method: str, path: str) -> None:  # noqa: F811
    answer = client.request(method, f"{API}/{path}", json={"data": "d0001"}, headers={"X-Test-Admin": ""})
    assert answer.status_code == 401 and site.jobs.jobs.tick() == [] and site.tasks.running("measure") is None


@pytest.mark.parametrize("path", ["launch/check", "launch"])
def test_a_large_body_is_refused(client: TestClient, path: str) -> None:
    body = {"data": "d0001", "knobs": {"train.lr": "1" * (64 << 10)}}
    assert client.post(f"{API}/{path}", json=body).status_code == 413


# -- whatever is sent
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
    | st.sampled_from(["d0001", "cpu", "cuda", "slurm", "quick", "calib", "val", "64x1", "\0", "../../x", "9" * 400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8)
FIELDS = st.dictionaries(st.sampled_from([*RetrainRequest.__dataclass_fields__, "x"]), JSON, max_size=6)
KNOB = st.sampled_from([f"{s}.{n}" for s, names in KNOBS.items() for n in names])
NEARLY = st.fixed_dictionaries({"data": st.just("d0001")}, optional={
    "knobs": st.dictionaries(KNOB, st.text(max_size=20) | st.integers().map(str) | st.floats().map(str), max_size=3),
    "hours": st.floats(), "seed": st.integers(), "resamples": st.integers(), "base": st.integers() | st.none(),
    "stage1": st.booleans(), "device": st.sampled_from(["cpu", "cuda", "slurm"])})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(body=FIELDS | NEARLY | JSON)
@example(body={"data": "d0001", "base": 10**4000})
@example(body={"data": "d0001", "knobs": {"train.schedule": "64x" + "9" * 5000}})
@example(body={"data": "\ud800"})
@example(body={"data": "x" * 60_000})
@example(body={"data": "d0001", "hours": float("nan")})
def test_no_body_makes_the_server_fail(client: TestClient, body: Any, known_speed: list[dict[str, Any]]) -> None:
    """TestClient raises what a handler lets rise: an answer means that nothing did."""
    answer = client.post(f"{API}/launch/check", content=json.dumps(body).encode())
    assert answer.status_code in (200, 400), answer.text
    assert answer.status_code == 200 or answer.json()["error"]


@given(body=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_bytes_make_the_server_fail(client: TestClient, body: bytes) -> None:
    assert client.post(f"{API}/launch", content=body).status_code == 400
