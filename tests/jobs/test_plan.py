"""Plans: presets and checked knobs become commands; nothing else gets in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermdemo.cli import parse
from dermdemo.config import PRESETS
from dermdemo.errors import ConfigError, JobError
from dermdemo.evaluation.records import decode, encode
from dermdemo.jobs.cluster import SlurmSettings
from dermdemo.jobs.datasets import DataSet
from dermdemo.jobs.plan import KNOBS, RetrainRequest, plan, stand_in
from dermdemo.jobs.records import JobRecord
from dermdemo.jobs.registry import Registry
from dermdemo.jobs.retrain import drift, request_of


def _data(source: str = "/data/set", **changes: object) -> DataSet:
    values: dict[str, object] = {
        "id": "d0001", "name": "set", "who": "ada", "created": "", "source": source, "copied": False,
        "split_seed": 3, "data_hash": "d", "readable_hash": "d", "split_hash": "s", "classes": ("a",), "images": 1,
        "groups": 1, "known": 0, "live_version": 0}
    return DataSet(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def models(make_set: Callable[[int], Path], tmp_path: Path) -> Registry:
    return Registry(tmp_path / "home", make_set(0))


def test_every_step_is_a_command_that_parses(models: Registry) -> None:
    knobs = {"train.lr": "0.002", "pretrain.schedule": "32x1,64x2"}
    record = plan(RetrainRequest(data="d0001", stage1=True, knobs=knobs), _data(), models, who="ada")
    names = [s.name for s in record.steps]
    assert names == ["prepare", "dry stage I", "dry stage II vae", "dry stage II imagenet", "dry gate", "dry atlas",
                     "stage I", "stage II vae", "stage II imagenet", "gate", "atlas", "candidate"]
    commands = {s.name: parse(s.argv) for s in record.steps}
    train = commands["stage II vae"]
    assert (train.config.lr, train.config.schedule, train.arm, train.split_seed) == (0.002, "128x30", "vae", 3)
    assert commands["stage I"].config.schedule == "32x1,64x2" and commands["stage I"].name == "vae"
    assert commands["stage I"].config.encoder == train.encoder == "convnext_atto"
    assert commands["dry stage I"].config.schedule == "64x1"
    assert commands["dry stage II vae"].config.views == 1
    assert commands["gate"].split == "calib" and commands["gate"].source == "/data/set"
    assert {s.run for s in record.steps if s.run and s.stoppable} == {"work/I", "work/II-vae", "work/II-imagenet"}


def test_without_stage_one_the_vae_stays(models: Registry) -> None:
    record = plan(RetrainRequest(data="d0001", dry_run=False), _data(), models, who="ada")
    assert [s.name for s in record.steps] == ["prepare", "stage II vae", "stage II imagenet", "gate", "atlas",
                                              "candidate"]
    atlas = record.steps[-2].argv
    assert "--other-data" in atlas and "--no-features" in atlas
    assert atlas[atlas.index("--map-from") + 1] == str(models.shipped / "atlas")
    assert Path(record.steps[2].argv[record.steps[2].argv.index("--weights") + 1]) == stand_in(models.shipped)


def test_the_record_holds_what_a_repeat_needs(models: Registry) -> None:
    request = RetrainRequest(data="d0001", seed=7, knobs={"train.views": "2"})
    record = plan(request, _data(), models, who="ada")
    again = request_of(decode(JobRecord, json.loads(json.dumps(encode(record)))))
    assert again == RetrainRequest(data="d0001", seed=7, knobs={"train.views": "2"}, base=0)
    assert record.facts["base_sha256"] == models.version(0).sha256
    assert {"torch", "code", "data_hash", "split_hash", "seed", "stage II"} <= set(record.facts)
    assert drift(record) == []
    repeated = plan(again, _data(), models, who="ben")
    assert repeated.steps == record.steps


def test_changed_code_is_named(models: Registry) -> None:
    record = plan(RetrainRequest(data="d0001"), _data(), models, who="ada", facts={"torch": "1.0"})
    assert drift(record)[0].startswith("torch 1.0 then")


def test_slurm_decides_devices_and_nodes(models: Registry) -> None:
    request = RetrainRequest(data="d0001", device="slurm", stage1=True)
    record = plan(request, _data(), models, who="ada", slurm=SlurmSettings(gpus=4, nodes=2))
    config = parse(next(s for s in record.steps if s.name == "stage I").argv).config
    assert (config.devices, config.num_nodes, config.device) == (4, 2, "auto")


@pytest.mark.parametrize(("changes", "message"), [
    ({"recipe": "fast"}, "recipe 'fast'"), ({"gate": "test"}, "gate 'test'"), ({"device": "tpu"}, "device 'tpu'"),
    ({"seed": -1}, "seed"), ({"resamples": 0}, "resamples"), ({"knobs": {"train.out": "/etc"}}, "no knob"),
    ({"knobs": {"lr": "1"}}, "no knob"), ({"knobs": {"train.device": "cuda"}}, "no knob"),
    ({"knobs": {"train.lr": "many"}}, "give a number"), ({"knobs": {"train.lr": "-1"}}, "positive"),
    ({"knobs": {"train.lr": "nan"}}, "finite"),
    ({"knobs": {"train.lr": "inf"}}, "finite"), ({"knobs": {"train.alpha": "x"}}, "choose from none"),
    ({"knobs": {"train.schedule": "64x9999"}}, "epochs"), ({"knobs": {"train.batch_size": "99999"}}, "batch"),
    ({"knobs": {"train.schedule": "64x1 --out /etc"}}, "schedule"), ({"knobs": {"pretrain.latent": "0"}}, "latent"),
])  # fmt: skip
def test_other_requests_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RetrainRequest(data="d0001", **changes)  # type: ignore[arg-type]


@given(knob=st.sampled_from([f"{s}.{n}" for s, names in KNOBS.items() for n in names]),
       text=st.one_of(st.text(max_size=20), st.integers().map(str), st.floats().map(str)))
def test_a_knob_changes_only_itself_or_is_refused(knob: str, text: str) -> None:
    stage, _, name = knob.partition(".")
    try:
        request = RetrainRequest(data="d0001", knobs={knob: text})
    except ConfigError:
        return
    found, preset = request.config(stage).to_dict(), PRESETS[stage]["quick"].config.to_dict()
    assert {k for k in found if found[k] != preset[k]} <= {name, "device"}


def test_a_job_that_is_no_retraining_is_not_repeated() -> None:
    from tests.jobs.fakes import record

    with pytest.raises(JobError, match="cannot be repeated"):
        request_of(record())
