"""Settings refuse what cannot work, with a sentence that says what would."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermdemo.config import (
    PRESETS,
    ContrastiveConfig,
    FinetuneConfig,
    Phase,
    PretrainConfig,
    RunConfig,
    SupervisedConfig,
    environment,
    parse_schedule,
)
from dermdemo.errors import ConfigError

CONFIGS = (RunConfig, PretrainConfig, ContrastiveConfig, SupervisedConfig, FinetuneConfig)
sizes = st.integers(1, 32).map(lambda k: 32 * k)
schedules = st.lists(st.tuples(sizes, st.integers(1, 500)), min_size=1, max_size=6).map(
    lambda phases: sorted(phases, key=lambda p: p[0]))


@given(schedules)
def test_schedules_survive_a_round_trip(phases: list[tuple[int, int]]) -> None:
    text = ",".join(f"{size}x{epochs}" for size, epochs in phases)
    assert parse_schedule(text) == tuple(Phase(*p) for p in phases)
    config = RunConfig(schedule=text)
    assert config.epochs == sum(epochs for _, epochs in phases)
    assert config.size == phases[-1][0]


@given(schedules)
def test_every_epoch_belongs_to_its_phase(phases: list[tuple[int, int]]) -> None:
    phases = [(size, min(epochs, 9)) for size, epochs in phases]
    config = RunConfig(schedule=",".join(f"{s}x{e}" for s, e in phases))
    told = [config.phase_of(epoch).size for epoch in range(1, config.epochs + 1)]
    assert told == [size for size, epochs in phases for _ in range(epochs)]


@given(st.text(max_size=20))
def test_any_text_is_a_schedule_or_a_config_error(text: str) -> None:
    try:
        phases = parse_schedule(text)
    except ConfigError as error:
        assert str(error).endswith(".")
    else:
        assert all(p.size % 32 == 0 and p.epochs >= 1 for p in phases)


@pytest.mark.parametrize(("text", "message"), [
    ("", "write it like 64x15,128x3"), ("64", "write it like"), ("64x", "write it like"), ("64x1x2", "write it like"),
    ("axb", "write it like"), ("128x1,64x1", "must not shrink"), ("60x3", "multiple of 32"),
    ("0x3", "multiple of 32"), ("2048x1", "between 32 and 1024"), ("64x0", "at least one epoch"),
])  # fmt: skip
def test_bad_schedules(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_schedule(text)


@pytest.mark.parametrize(("kind", "values", "message"), [
    (RunConfig, {"batch_size": 0}, "batch size"),
    (RunConfig, {"lr": 0.0}, "learning rate must be positive"),
    (RunConfig, {"weight_decay": -0.1}, "must not be negative"),
    (RunConfig, {"warmup_epochs": -1}, "Warm-up"),
    (RunConfig, {"restart": 1.5}, "starts anew"),
    (RunConfig, {"clip_norm": 0.0}, "clipping"),
    (RunConfig, {"devices": 0}, "Devices and nodes"),
    (RunConfig, {"num_nodes": 0}, "Devices and nodes"),
    (PretrainConfig, {"latent": 0}, "at least one dimension"),
    (PretrainConfig, {"beta": -1.0}, "Beta"),
    (PretrainConfig, {"sigma": 0.0}, "standard deviation"),
    (PretrainConfig, {"kl_warmup_fraction": 0.0}, "fraction"),
    (PretrainConfig, {"kl_warmup_fraction": 1.5}, "fraction"),
    (PretrainConfig, {"kl_cycles": 0}, "at least one cycle"),
    (PretrainConfig, {"free_bits": -1.0}, "Free bits"),
    (PretrainConfig, {"grid_every": 0}, "Grids"),
    (PretrainConfig, {"mask": 1.0}, "hidden"),
    (PretrainConfig, {"mask": -0.1}, "hidden"),
    (PretrainConfig, {"blur": 0.25}, "blur"),
    (SupervisedConfig, {"label_smoothing": 1.0}, "smoothing"),
    (SupervisedConfig, {"drop_path": -0.1}, "Drop path"),
    (SupervisedConfig, {"val_fraction": 0.0}, "validation fraction"),
    (ContrastiveConfig, {"batch_size": 1}, "at least 2 images"),
    (ContrastiveConfig, {"projection_hidden": 0}, "hidden unit"),
    (ContrastiveConfig, {"projection": 1}, "two dimensions"),
    (ContrastiveConfig, {"temperature": 0.0}, "temperature must be positive"),
    (FinetuneConfig, {"schedule": "64x2,128x2"}, "one phase"),
    (FinetuneConfig, {"unfrozen_stages": 5}, "stages can train"),
    (FinetuneConfig, {"stage_lr": 0.0}, "Stage learning rates"),
    (FinetuneConfig, {"lr_decay": 0.0}, "Stage learning rates"),
    (FinetuneConfig, {"hidden": 0}, "hidden unit"),
    (FinetuneConfig, {"dropout": 1.0}, "Dropout"),
    (FinetuneConfig, {"gamma": -1.0}, "Gamma"),
    (FinetuneConfig, {"views": 0}, "view"),
    (FinetuneConfig, {"label_fraction": 0.0}, "label fraction"),
    (FinetuneConfig, {"early_stopping": -1}, "Early stopping"),
])  # fmt: skip
def test_values_out_of_range(kind: type[RunConfig], values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**values)


@pytest.mark.parametrize("kind", CONFIGS)
def test_configs_survive_json(kind: type[RunConfig]) -> None:
    config = kind(lr=0.123, seed=7)
    assert kind.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("kind", CONFIGS)
def test_unknown_keys_are_errors(kind: type[RunConfig]) -> None:
    with pytest.raises(ConfigError, match="Unknown settings: learning_rate, momentum"):
        kind.from_dict(kind().to_dict() | {"momentum": 0.9, "learning_rate": 1e-3})


@pytest.mark.parametrize("kind", CONFIGS)
def test_configs_are_frozen_and_keyword_only(kind: type[RunConfig]) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().lr = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        kind("64x1")  # type: ignore[misc]


def test_presets_fit_their_command_and_say_what_to_expect() -> None:
    kinds = {"pretrain": PretrainConfig, "train": FinetuneConfig, "study": FinetuneConfig,
             "pretrain-supervised": SupervisedConfig, "pretrain-ssl": ContrastiveConfig}
    for command, presets in PRESETS.items():
        for name, preset in presets.items():
            assert isinstance(preset.config, kinds[command]), name
            assert preset.expects.endswith("."), name


def test_the_environment_decides_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("DERMDEMO_HOME", "DERMDEMO_CHECKPOINTS", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    default = environment()
    assert (default.home, default.offline) == (Path(".dermdemo"), False)
    assert default.checkpoints.name == "checkpoints"
    assert (default.checkpoints.parent / "dermdemo").is_dir()
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path))
    monkeypatch.setenv("DERMDEMO_CHECKPOINTS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert (environment().home, environment().checkpoints) == (tmp_path, tmp_path / "models")
    assert environment().offline


@pytest.mark.parametrize(("value", "allowed"), [("1", True), ("", False), ("0", False), ("true", False)])
def test_plain_http_logins_are_allowed_by_a_1_alone(
    monkeypatch: pytest.MonkeyPatch, value: str, allowed: bool
) -> None:
    monkeypatch.setenv("DERMDEMO_ADMIN_HTTP", value)
    assert environment().admin_http is allowed


@pytest.mark.parametrize(("values", "words"), [
    ({}, "as a VAE"), ({"ae": True}, "as a plain autoencoder"),
    ({"mask": 0.5}, "as a denoising VAE (50% of each image's squares hidden)"),
    ({"ae": True, "blur": 0.05}, "as a denoising autoencoder (images blurred by up to 5.0% of their side)"),
    ({"mask": 0.25, "blur": 0.02},
     "as a denoising VAE (25% of each image's squares hidden, images blurred by up to 2.0% of their side)"),
])  # fmt: skip
def test_stage_one_says_what_was_hidden(values: dict[str, Any], words: str) -> None:
    assert PretrainConfig(**values).method == words
