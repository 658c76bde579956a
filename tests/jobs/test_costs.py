"""Costs: what follows from figures, which figures count, and one real measurement. No test looks at a clock."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dermdemo.errors import JobError
from dermdemo.evaluation.records import encode
from dermdemo.jobs import machine, speeds
from dermdemo.jobs.cost_basis import CostBasis, Counts, wanted_of
from dermdemo.jobs.costs import Cost, Costs, cost_of
from dermdemo.jobs.datasets import Catalogue, DataSet, Offer
from dermdemo.jobs.footprint import pixels
from dermdemo.jobs.past import Past, past_jobs
from dermdemo.jobs.plan import RetrainRequest
from dermdemo.jobs.records import JobFolder, Step, create_job
from dermdemo.jobs.registry import Registry
from dermdemo.jobs.speeds import Measured, Speeds, Wanted
from dermdemo.types import Speed, SpeedReport
from tests.jobs.fakes import record

DATA = DataSet(id="d0001", name="set", who="ada", created="", source="/nowhere", copied=False, split_seed=0,
               data_hash="h", readable_hash="h", split_hash="s", classes=("mel", "nv"), images=1000, groups=900,
               known=0, live_version=0)
AUDIT = {"split_table": {s: {"mel": n // 2, "nv": n - n // 2, "groups": n} for s, n in (
    ("train", 600), ("val", 100), ("calib", 100), ("test", 200))}}


def speed(stage: str, size: int = 64, **changes: Any) -> Speed:
    values = {"stage": stage, "size": size, "batch": 16, "train": 0.02, "evaluate": 0.01, "frozen": 0.005,
              "save": 0.5, "idle": 10**9, "active": 1000.0, "kept": 50_000, "gpu_idle": 0, "gpu_active": 0.0,
              "parameters": 10**7, "trained": 10**7}
    return Speed(**values | changes)  # type: ignore[arg-type]


def measured(*found: Speed, **changes: Any) -> Measured:
    values = {"machine": machine.identity_of("cpu"), "device": "cpu", "encoder": "convnext_tiny", "unfrozen": 1,
              "data_hash": "h", "created": "2026-01-02T03:04:05.000+00:00", "at": time.time(),
              "asked": {"pretrain": (64, 128), "train": (128,)},
              "report": SpeedReport(start=5.0, table=1.0, decode=0.01, compare=1e-7, images=32,
                                    share=changes.pop("share", 1.0), speeds=found)}
    return Measured(**values | changes)


BOTH = measured(speed("pretrain"), speed("train", 128))


def cost(request: RetrainRequest, *, data: DataSet = DATA, audit: Any = AUDIT, m: Measured = BOTH,
         past: Past | None = None) -> Cost:
    wanted = wanted_of(request, data, "convnext_tiny")
    known = {stage: [(s, m) for s in m.report.speeds if s.stage == stage] for stage in wanted.sizes}
    return cost_of(CostBasis(request=request, wanted=wanted, counts=Counts.of(data, audit), known=known, common=m,
                             past=past or Past()))


def _part(found: Cost, name: str) -> float:
    return next((p.seconds_low + p.seconds_high for p in found.parts if p.name == name), 0.0)


QUICK = RetrainRequest(data="d0001", stage1=True)


# -- what follows from figures
def test_a_cost_is_a_range_with_its_parts() -> None:
    found = cost(QUICK)
    assert [p.name for p in found.parts] == ["prepare", "dry run", "stage I", "stage II", "gate", "atlas",
                                             "candidate"]
    assert 0 < found.seconds_low < found.seconds_high
    assert found.seconds_low == pytest.approx(sum(p.seconds_low for p in found.parts))
    assert all(0 < p.seconds_low < p.seconds_high for p in found.parts)
    assert found.memory_bytes > 10**9 and found.disk_bytes > 10**8 and found.gpu_memory_bytes is None


def test_epochs_are_those_of_the_arithmetic() -> None:
    """15 epochs at 64 px and 3 at 128, which has four times the pixels: 600 images to train on, 100 to validate."""
    quiet = measured(speed("pretrain", save=0.0), speed("train", 128), share=1.0)
    found, epoch = cost(QUICK, m=quiet), 600 * 0.02 + 100 * 0.01
    load = 5 + 1 + 1000 * 0.01 + 0.1
    rest = load + 2 * 700 * 0.01 + 100 * 0.01  # twice decoded, once validated before the first epoch
    part = next(p for p in found.parts if p.name == "stage I")
    assert part.seconds_high == pytest.approx(1.4 * 15 * epoch + 1.9 * 3 * 4 * epoch + 1.5 * rest, abs=0.1)
    assert part.seconds_low == pytest.approx(0.85 * 15 * epoch + 0.6 * 3 * 4 * epoch + 0.8 * rest, abs=0.1)


@pytest.mark.parametrize(("changes", "part", "grows"), [
    ({"stage1": False}, "stage I", -1), ({"dry_run": False}, "dry run", -1), ({"resamples": 9000}, "gate", 1),
    ({"knobs": {"train.schedule": "128x60"}}, "stage II", 1), ({"knobs": {"train.views": "8"}}, "stage II", 1),
    ({"knobs": {"pretrain.schedule": "64x30,128x3"}}, "stage I", 1),
    ({"knobs": {"pretrain.schedule": "64x15,224x3"}}, "stage I", 1),
    ({"knobs": {"train.label_fraction": "0.1"}}, "stage II", -1),
    ({"knobs": {"train.early_stopping": "3"}}, "stage II", -1), ({"recipe": "paper"}, "stage I", 1),
    ({"knobs": {"train.schedule": "224x30"}}, "atlas", 1),
])  # fmt: skip
def test_what_is_asked_for_is_what_it_costs(changes: dict[str, Any], part: str, grows: int) -> None:
    before, after = cost(QUICK), cost(replace(QUICK, **changes))
    assert (_part(after, part) - _part(before, part)) * grows > 0


def test_more_images_cost_more_of_everything() -> None:
    large = {"split_table": {s: {k: 10 * n for k, n in row.items()} for s, row in AUDIT["split_table"].items()}}
    before, after = cost(QUICK), cost(QUICK, data=replace(DATA, images=10_000), audit=large)
    assert after.seconds_low > 5 * before.seconds_low / 2 and after.memory_bytes > before.memory_bytes
    assert after.disk_bytes > before.disk_bytes
    assert all(_part(after, p.name) > _part(before, p.name) for p in before.parts if p.name not in (
        "dry run", "candidate"))


def test_unlabelled_images_serve_stage_one_only() -> None:
    some = {"split_table": {s: {"mel": n // 4, "": n - n // 4, "groups": n} for s, n in (
        ("train", 600), ("val", 100), ("calib", 100), ("test", 200))}}
    before, after = cost(QUICK), cost(QUICK, audit=some)
    assert _part(after, "stage I") == _part(before, "stage I")
    assert _part(after, "stage II") < _part(before, "stage II")


def test_without_an_audit_the_usual_fractions_are_taken() -> None:
    found = Counts.of(DATA, {})
    assert (found.train, found.val, found.calib, found.labelled["train"]) == (600, 100, 100, 600)


def test_memory_holds_pixels_views_and_the_batch() -> None:
    base = cost(QUICK).memory_bytes
    assert cost(replace(QUICK, knobs={"pretrain.batch_size": "512"})).memory_bytes > base + 128**2 * 400 * 1000 / 2
    heavy = replace(QUICK, stage1=False, knobs={"train.views": "60"})
    assert cost(heavy).memory_bytes >= 10**9 + 60 * 600 * 50_000
    shrunk = measured(speed("pretrain", active=0.0), speed("train", 128, active=0.0))
    assert cost(QUICK, m=shrunk).memory_bytes > 10**9 + 256 * 128**2 * 250, "a forward pass is never free"


def test_images_that_do_not_fit_are_not_counted_as_held() -> None:
    assert pixels(100, 128) == 100 * 3 * 128**2
    assert pixels(10**6, 128) == 0, "they are decoded again for every batch"


def test_shards_are_held_whole(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(bytes(10**7))
    (tmp_path / "b.csv").write_bytes(bytes(10**7))
    assert cost(QUICK, data=replace(DATA, source=str(tmp_path))).memory_bytes == cost(QUICK).memory_bytes + 10**7


def test_on_a_gpu_its_memory_is_said() -> None:
    m = measured(speed("pretrain", gpu_idle=10**9, gpu_active=2000.0), speed("train", 128, gpu_idle=10**8),
                 device="cuda")
    found = cost(replace(QUICK, device="cuda"), m=m)
    assert found.gpu_memory_bytes == (600 << 20) + 10**9 + 2000 * 64 * 128**2


# -- which figures count
def test_past_jobs_go_before_measurements_and_are_named() -> None:
    past = Past(epochs={"pretrain": {64: 0.5, 128: 2.0}}, steps={"gate": [(40.0, 1000), (60.0, 1000)]},
                jobs={"pretrain": "0003", "gate": "0002"})
    found, without = cost(QUICK, past=past), cost(QUICK)
    assert _part(found, "stage I") > 10 * _part(without, "stage I")
    gate = next(p for p in found.parts if p.name == "gate")
    assert (gate.seconds_low, gate.seconds_high) == pytest.approx((37.5, 70.0))
    assert "From job 0002, 0003 on this machine: epochs of stage I, the steps gate; the rest measured" in found.basis
    assert without.basis.startswith("Measured on this machine with 32 images") and "job" not in without.basis


def test_a_past_job_at_other_sizes_is_not_named_for_epochs() -> None:
    found = cost(QUICK, past=Past(epochs={"pretrain": {64: 0.5}}, jobs={"pretrain": "0003"}))
    assert "0003" not in found.basis and "scaled by their pixels" in found.basis


def test_a_step_of_a_small_set_says_less_for_a_large_one() -> None:
    past = Past(steps={"atlas": [(100.0, 1000)]})
    assert (past.step("atlas", 3000), past.step("atlas", 10), past.step("gate", 10)) == (300.0, 50.0, None)


def test_a_busy_machine_widens_the_range_and_is_said() -> None:
    busy, alone = cost(QUICK, m=replace(BOTH, report=replace(BOTH.report, share=0.25))), cost(QUICK)
    assert busy.seconds_low < 0.5 * alone.seconds_low and busy.seconds_high == alone.seconds_high
    assert "25%" in busy.basis and "%" not in alone.basis


def _store(home: Path, *found: Measured) -> Speeds:
    (home / "costs").mkdir(parents=True, exist_ok=True)
    (home / "costs" / "speeds.jsonl").write_text("".join(json.dumps(encode(m)) + "\n" for m in found))
    return Speeds(home)


WANTED = wanted_of(QUICK, DATA, "convnext_tiny")
ALL = {"pretrain": [64, 128], "train": [128]}


@pytest.mark.parametrize(("m", "missing"), [
    (BOTH, None), (replace(BOTH, machine="another, 8 cores"), ALL),
    (replace(BOTH, device="cuda"), ALL), (replace(BOTH, encoder="other"), ALL),
    (replace(BOTH, unfrozen=2), {"train": [128]}), (replace(BOTH, data_hash="x"), {}),
    (replace(BOTH, asked={"pretrain": (64,), "train": (128,)}), {"pretrain": [128]}),
    (measured(speed("train", 128)), {"pretrain": [64, 128]}),
    (measured(*BOTH.report.speeds, share=0.2), None),
    (measured(*BOTH.report.speeds, share=0.2, at=time.time() - 7200), ALL),
    (measured(*BOTH.report.speeds, share=0.2, at=time.time() + 7200), ALL),
])  # fmt: skip
def test_only_figures_of_this_machine_and_network_count(tmp_path: Path, m: Measured,
                                                        missing: dict[str, list[int]] | None
                                                        ) -> None:
    assert _store(tmp_path, m).missing(WANTED) == missing


def test_lines_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    store = _store(tmp_path, replace(BOTH, created="old"), BOTH)
    with (tmp_path / "costs" / "speeds.jsonl").open("a") as stream:
        stream.write('{"machine": 3}\nnonsense\n\n')
    assert store.missing(WANTED) is None and [m.created for m in store.all()] == [BOTH.created, "old"]


def _job(home: Path, *, machine_: str | None = None, encoder: str = "convnext_tiny", unfrozen: int = 1,
         device: str = "cpu", size: int = 128) -> JobFolder:
    """A job of this machine with a run of each stage and two other steps, on 500 images."""
    steps = (Step(name="prepare", argv=()), Step(name="stage I", argv=(), run="work/I"), Step(name="gate", argv=()))
    facts = {"data": "d0002", "stage I": json.dumps({"encoder": encoder}),
             "stage II": json.dumps({"schedule": f"{size}x2"})}
    job = create_job(home / "jobs", replace(record(device, *steps), facts=facts))
    lines = [{"kind": "started", "attempt": 1, "machine": machine_ or machine.identity_of(device)}]
    for name, took in (("prepare", 20.0), ("stage I", 100.0), ("gate", 50.0)):
        lines += [{"kind": "step", "attempt": 1, "step": name, "time": 1000.0},
                  {"kind": "step-done", "attempt": 1, "step": name, "time": 1000.0 + took}]
    with (job.path / "events.jsonl").open("a") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)
    for name, stage, sizes in (("vae", "pretrain", [64, 64, 128]), ("vae-arm", "train", [128])):
        run = job.path / "work" / name
        run.mkdir(parents=True)
        events = [{"kind": "started", "stage": stage, "data": {"train_images": 100},
                   "config": {"unfrozen_stages": unfrozen}},
                  {"kind": "epoch", "epoch": 0, "size": sizes[0], "seconds": 900.0}]
        events += [{"kind": "epoch", "epoch": k + 1, "size": s, "seconds": s / 64} for k, s in enumerate(sizes)]
        (run / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events) + '{"kind": "ep')
    return job


def _past(home: Path, wanted: Wanted = WANTED) -> Past:
    return past_jobs(home / "jobs", wanted, {"d0002": 500})


def test_past_jobs_are_read_from_their_events(tmp_path: Path) -> None:
    _job(tmp_path), _job(tmp_path)
    found = _past(tmp_path)
    assert found.epochs == {"pretrain": {64: 0.01, 128: 0.02}, "train": {128: 0.02}}
    assert found.steps == {"prepare": [(20.0, 500)] * 2, "gate": [(50.0, 500)] * 2}
    assert set(found.jobs.values()) == {"0002"}


def test_steps_that_run_models_of_another_size_say_nothing(tmp_path: Path) -> None:
    _job(tmp_path, size=64)
    assert _past(tmp_path).steps.keys() == {"prepare"}


@pytest.mark.parametrize("changes", [{"machine_": "another"}, {"device": "cuda"}])
def test_jobs_of_other_machines_say_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    _job(tmp_path, **changes)
    found = _past(tmp_path)
    assert not found.steps and not any(found.epochs.values())


def test_runs_of_other_networks_say_nothing(tmp_path: Path) -> None:
    _job(tmp_path, encoder="other")
    assert not any(_past(tmp_path).epochs.values()) and _past(tmp_path).steps
    shutil.rmtree(tmp_path / "jobs")
    _job(tmp_path, unfrozen=3)
    assert _past(tmp_path).epochs["train"] == {} and _past(tmp_path).epochs["pretrain"]


@pytest.mark.parametrize(("old", "new"), [
    ('"train_images": 100', '"train_images": "x"'),
    ('"seconds": 1.0', '"seconds": "x"'), ('"data": {', '"data": 3, "x": {'),
    ('"size": 64', '"siz": 64'),
])  # fmt: skip
def test_events_that_say_nonsense_are_passed_over(tmp_path: Path, old: str, new: str) -> None:
    run = _job(tmp_path).path / "work" / "vae" / "events.jsonl"
    text = run.read_text()
    assert old in text
    run.write_text(text.replace(old, new))
    _job(tmp_path, size=64)
    assert _past(tmp_path).steps == {"prepare": [(20.0, 500)]} and _past(tmp_path).epochs["train"]


def test_a_clock_that_jumped_and_a_damaged_job_are_passed_over(tmp_path: Path) -> None:
    job = _job(tmp_path)
    text = (job.path / "events.jsonl").read_text().replace("1020.0", "-5.0")
    (job.path / "events.jsonl").write_text(text)
    (tmp_path / "jobs" / "0002").mkdir()
    assert _past(tmp_path).steps.keys() == {"gate"}


# -- measuring
@pytest.fixture
def catalogue(tmp_path: Path, lesion_folder: Path, make_set: Callable[[int], Path]) -> Catalogue:
    return Catalogue(tmp_path / "home", (lesion_folder.parent,), Registry(tmp_path / "home", make_set(0)))


@pytest.mark.slow
def test_this_machine_is_measured_once(catalogue: Catalogue, lesion_folder: Path, monkeypatch: pytest.MonkeyPatch
                                       ) -> None:
    data = catalogue.add_folder(str(lesion_folder), Offer(who="ada"))
    knobs = {"pretrain.schedule": "32x3", "pretrain.latent": "8", "train.schedule": "32x3"}
    request, costs = RetrainRequest(data=data.id, stage1=True, knobs=knobs), Costs(catalogue)
    assert costs.known(request, data, "convnext_atto") is None
    costs.measure(request, data, "convnext_atto")
    found = costs.known(request, data, "convnext_atto")
    assert found is not None and 0 < found.seconds_low < found.seconds_high and found.memory_bytes > 10**8
    stored = Speeds(catalogue.home).all()[0]
    assert {(s.stage, s.size) for s in stored.report.speeds} >= {("pretrain", 32), ("train", 32)}
    assert all(min(s.train, s.evaluate, s.save, s.idle, s.parameters, s.trained) > 0 for s in stored.report.speeds)
    assert next(s for s in stored.report.speeds if s.stage == "train").kept > 0 and 0 < stored.report.share <= 1
    # -- nothing is missing now, and another data set needs its images only
    monkeypatch.setattr(speeds, "run", None)
    costs.measure(request, data, "convnext_atto")
    asked: list[Any] = []
    monkeypatch.setattr(speeds, "run", lambda request, *_, **__: asked.append(request) or stored.report)
    costs.measure(request, replace(data, data_hash="other"), "convnext_atto")
    assert asked[0]["stages"] == []
    assert costs.known(request, replace(data, data_hash="other"), "convnext_atto") is not None


@pytest.mark.slow
@pytest.mark.parametrize(("request_", "limit", "said"), [
    ({"source": "/nowhere", "encoder": "convnext_atto", "seconds": 1, "stages": []}, 240.0, "nothing at '/nowhere'"),
    ({"source": "/nowhere", "encoder": "x", "seconds": 1, "stages": []}, 0.05, "took more than"),
])  # fmt: skip
def test_a_measurement_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: dict[str, Any],
                                           limit: float, said: str) -> None:
    monkeypatch.setattr(speeds, "LIMIT_SECONDS", limit)
    with pytest.raises(JobError, match=said):
        speeds.run(request_, tmp_path)
