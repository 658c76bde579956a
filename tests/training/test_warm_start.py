"""Warm starts: what is taken, what it is said to have cost, what is refused, and how such a run is resumed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from dermdemo.config import PretrainConfig, SupervisedConfig
from dermdemo.data.synthetic import write_synthetic
from dermdemo.errors import CheckpointError, ConfigError
from dermdemo.models.card import render_card
from dermdemo.models.checkpoint import load_encoder, load_meta, load_vae, rewrite_meta, trim
from dermdemo.training.events import read_events
from dermdemo.training.runs import RunRequest, run_pretrain, run_supervised
from dermdemo.training.warm_start import WarmStart, join_schedules

TINY = {"encoder": "convnext_atto", "batch_size": 16, "device": "cpu"}


def vae_config(**changes: Any) -> PretrainConfig:
    return PretrainConfig(**({**TINY, "latent": 8, "schedule": "32x2"} | changes))  # type: ignore[arg-type]


def encoder_config(**changes: Any) -> SupervisedConfig:
    return SupervisedConfig(**({**TINY, "schedule": "32x1", "val_fraction": 0.2} | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("lesions"), n_lesions=40, seed=3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, lesions: Path) -> Path:
    """A store with a VAE and an encoder; not to be changed."""
    root = tmp_path_factory.mktemp("finished")
    run_pretrain(RunRequest(source=str(lesions), out=root / "vae", store=root / "store"), vae_config())
    run_supervised(RunRequest(source=str(lesions), out=root / "encoder", store=root / "store"), encoder_config())
    return root / "store"


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "store"))


def request(lesions: Path, store: Path, name: str, **changes: Any) -> RunRequest:
    return RunRequest(source=str(lesions), out=store.parent / name, store=store, **changes)


def first_validation(run: Path) -> float:
    return float(next(e for e in read_events(run) if e["kind"] == "epoch")["val"]["loss"])


def last_validation(run: Path) -> float:
    return float([e for e in read_events(run) if e["kind"] == "epoch"][-1]["val"]["loss"])


def test_a_vae_goes_on_where_the_earlier_one_ended(lesions: Path, finished: Path, store: Path) -> None:
    start = load_meta(store / "vae")
    more = vae_config(schedule="32x1,64x1")
    folder = run_pretrain(request(lesions, store, "more", init=store / "vae"), more)
    ended = last_validation(finished.parent / "vae")
    assert first_validation(store.parent / "more") == pytest.approx(ended, rel=0.01)
    meta = load_meta(folder)
    assert meta.spent["epochs"] == 4 and meta.spent["schedule"] == "32x3,64x1"
    assert meta.spent["hours"] == pytest.approx(start.spent["hours"], abs=0.02)  # a run this small rounds to 0
    assert meta.spent["started_from"]["sha256"] == start.sha256
    assert meta.spent["started_from"]["parts"] == ["trunk", "top", "decoder"]
    for words in ("started from 'vae'", start.sha256[:12], "32x3,64x1 px x epochs in all"):
        assert words in meta.origin_text and words in render_card(meta)
    assert "from scratch" not in meta.origin_text and "from scratch" in start.origin_text
    assert load_vae(folder).meta.input.size == 64


def test_a_third_run_counts_all_three(lesions: Path, store: Path) -> None:
    run_pretrain(request(lesions, store, "second", init=store / "vae"), vae_config(schedule="32x1"))
    folder = run_pretrain(request(lesions, store, "third", init=store / "second"), vae_config(schedule="32x1"))
    meta = load_meta(folder)
    assert meta.spent["epochs"] == 4 and meta.spent["schedule"] == "32x4"
    assert "started from 'second'" in meta.origin_text


def test_an_encoder_goes_on_whole(lesions: Path, store: Path) -> None:
    start = load_encoder(store / "encoder")
    folder = run_supervised(request(lesions, store, "more", init=store / "encoder"), encoder_config(lr=1e-9))
    found, meta = load_encoder(folder)
    for name, value in start.module.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-2, atol=1e-4)
    assert meta.spent["schedule"] == "32x2" and "only its trunk" not in meta.origin_text
    assert "not ImageNet-1k weights" in meta.origin_text


def test_of_a_trimmed_encoder_the_trunk_is_taken(lesions: Path, store: Path) -> None:
    start = load_encoder(store / "encoder").module.state_dict()
    trim(store / "encoder")
    folder = run_supervised(request(lesions, store, "more", init=store / "encoder"), encoder_config(lr=1e-9))
    found, meta = load_encoder(folder)
    changed = {name for name, value in found.state_dict().items()
               if not torch.allclose(value, start[name], rtol=1e-2, atol=1e-4)}
    assert changed and all(name.startswith(("stages.3.", "norm.")) for name in changed)
    assert "only its trunk is taken, the last stage started fresh" in meta.origin_text
    assert meta.spent["started_from"]["parts"] == ["trunk"]


@pytest.mark.parametrize(("init", "changes", "message"), [
    ("encoder", {}, "kind 'vae'; .* is of kind 'encoder'"),
    ("vae", {"ae": True}, "kind 'ae'; .* is of kind 'vae'"),
    ("vae", {"encoder": "convnext_femto"}, "holds a convnext_atto; this run asks for a convnext_femto"),
    ("vae", {"latent": 16}, "has 8 dimensions; this run asks for 16"),
    ("nothing", {}, "is not a checkpoint"),
])
def test_what_does_not_fit_is_refused_before_anything_is_written(
        lesions: Path, store: Path, init: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        run_pretrain(request(lesions, store, "more", init=store / init), vae_config(**changes))
    assert not (store.parent / "more").exists()


def test_a_supervised_run_starts_from_encoders_only(lesions: Path, store: Path) -> None:
    with pytest.raises(CheckpointError, match=r"kind 'encoder'; .* is of kind 'vae'"):
        run_supervised(request(lesions, store, "more", init=store / "vae"), encoder_config())


def test_weights_that_saw_this_splits_test_lesions_are_refused(lesions: Path, store: Path) -> None:
    with pytest.raises(CheckpointError, match="another split of the same data"):
        run_pretrain(request(lesions, store, "more", init=store / "vae", split_seed=7), vae_config())


def test_a_stopped_warm_run_is_resumed_without_the_checkpoint(
        lesions: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = vae_config(schedule="32x3")
    whole = run_pretrain(request(lesions, store, "whole", init=store / "vae"), config)
    from dermdemo.training.pretrain import PretrainTask

    def stop(self: PretrainTask, model: Any, epoch: int, folder: Path, record: Any) -> None:
        if epoch == 1:
            (folder / "stop").touch()

    with monkeypatch.context() as patch:
        patch.setattr(PretrainTask, "after_epoch", stop)
        run_pretrain(request(lesions, store, "parts", init=store / "vae"), config)
    assert load_meta(store / "parts").spent["epochs"] == 3
    (store / "vae").rename(store / "moved")
    parts = run_pretrain(request(lesions, store, "parts", resume=True), config)
    first, second = load_vae(whole), load_vae(parts)
    for name, value in first.module.state_dict().items():
        torch.testing.assert_close(second.module.state_dict()[name], value)
    assert second.meta.spent["epochs"] == 5 and "started from 'vae'" in second.meta.origin_text


def test_a_run_killed_before_its_first_epoch_starts_warm_again(lesions: Path, store: Path) -> None:
    run_pretrain(request(lesions, store, "more", init=store / "vae"), vae_config(schedule="32x1"))
    before = first_validation(store.parent / "more")
    for name in ("last.pt", "best.pt", "events.jsonl"):
        (store.parent / "more" / name).unlink()
    again = request(lesions, store, "more", resume=True)
    run_pretrain(again, vae_config(schedule="32x1"))
    assert first_validation(store.parent / "more") == pytest.approx(before)
    (store.parent / "more" / "last.pt").unlink()
    meta = load_meta(store / "vae")
    rewrite_meta(store / "vae", dataclasses.replace(meta, files={**meta.files, "top": "0" * 64}))
    with pytest.raises(CheckpointError, match="not the checkpoint this run was started from any more"):
        run_pretrain(again, vae_config(schedule="32x1"))


def test_a_resume_from_something_else_is_refused(lesions: Path, store: Path) -> None:
    config = vae_config(schedule="32x1")
    run_pretrain(request(lesions, store, "cold"), config)
    with pytest.raises(ConfigError, match="was started from random weights"):
        run_pretrain(request(lesions, store, "cold", resume=True, init=store / "vae"), config)
    run_pretrain(request(lesions, store, "warm", init=store / "vae"), config)
    with pytest.raises(ConfigError, match="was started from 'vae'"):
        run_pretrain(request(lesions, store, "warm", resume=True, init=store / "cold"), config)
    run_pretrain(request(lesions, store, "warm", resume=True, init=store / "vae"), config)


@pytest.mark.parametrize(("before", "after", "total"), [
    ("64x8", "64x7,128x3", "64x15,128x3"), ("64x8,128x1", "64x2", "64x8,128x1,64x2"), ("", "32x2", "32x2")])
def test_schedules_add_up(before: str, after: str, total: str) -> None:
    assert join_schedules(before, after) == total


def test_licences_and_machines_add_up(store: Path) -> None:
    meta = dataclasses.replace(load_meta(store / "vae"), licence="theirs",
                               spent={"epochs": 8, "schedule": "64x8", "hours": 1.5, "hardware": "CPU"})
    start = WarmStart.of(store / "vae", meta)
    assert start.licence_with("theirs") == "theirs"
    assert start.licence_with("ours") == "ours; and, for what it started from, theirs"
    own = {"epochs": 2, "schedule": "64x2", "hours": 0.25, "hardware": "GPU"}
    total = start.spent_with(own)
    assert (total["epochs"], total["schedule"], total["hours"]) == (10, "64x10", 1.75)
    assert total["hardware"] == "CPU, then GPU"
    further = dataclasses.replace(start, spent=total)
    assert further.spent_with(own)["hardware"] == "CPU, then GPU"
    assert further.spent_with({**own, "hardware": "CPU"})["hardware"] == "CPU, then GPU, then CPU"
    assert json.loads(json.dumps(total)) == total
