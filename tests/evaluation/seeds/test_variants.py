"""Names of arms: what they mean, and what is refused."""

from __future__ import annotations

import pytest

from dermdemo.config import FinetuneConfig
from dermdemo.errors import ConfigError
from dermdemo.evaluation.seeds.variants import (
    DEFAULT_ARMS,
    REFERENCES,
    compared_with,
    in_order,
    parse_arms,
    parse_variant,
)


@pytest.mark.parametrize(("name", "unfrozen", "scale"), [
    ("vae", 1, 1e-6), ("imagenet-head", 0, 1e-6), ("random", 1, 1e-6), ("random-head", 0, 1e-6),
    ("random-ls1", 1, 1.0), ("random-head-ls1", 0, 1.0), ("scratch", 4, 1e-6), ("scratch-ls1", 4, 1.0),
])  # fmt: skip
def test_a_name_says_what_is_trained_and_how_it_starts(name: str, unfrozen: int, scale: float) -> None:
    base = FinetuneConfig(lr=0.01)
    config = parse_variant(name).config(base, 3)
    assert (config.unfrozen_stages, config.layer_scale, config.seed, config.lr) == (unfrozen, scale, 3, 0.01)


def test_an_arm_is_set_against_every_reference_and_the_claimed_one_against_its_like_only() -> None:
    arms = ("vae", "ssl", "imagenet", "random", "pixels")
    pairs = {(arm, r) for r in REFERENCES for arm in compared_with(r, arms)}
    assert {r for arm, r in pairs if arm == "vae"} == {"imagenet", "random", "random-ls1", "pixels"}
    assert {arm for arm, r in pairs if r == "vae"} == {"ssl"}
    assert all(arm != r for arm, r in pairs)


def test_every_control_of_the_default_set_differs_from_the_others() -> None:
    words = [v.to_text(FinetuneConfig()) for v in parse_arms(DEFAULT_ARMS)]
    assert len(set(words)) == len(words)
    assert "random weights, layer scale 1; head only trained" in words


@pytest.mark.parametrize(("name", "message"), [
    ("resnet", "no arm 'resnet'"), ("random-ls1-head", "no arm"), ("random-ls2", "no arm"), ("vae-ls1", "untrained"),
    ("scratch-head", "random-head"), ("", "no arm"),
])  # fmt: skip
def test_a_name_without_a_meaning_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_variant(name)


def test_arms_are_listed_alike_whenever_they_joined() -> None:
    joined = ("scratch", "random-ls1", "random", "vae", "imagenet-head", "imagenet", "ssl")
    assert in_order(joined) == ("vae", "ssl", "imagenet-head", "imagenet", "random-ls1", "random", "scratch")
    assert in_order(DEFAULT_ARMS) == DEFAULT_ARMS


def test_arms_are_named_once() -> None:
    with pytest.raises(ConfigError, match="Named twice: vae"):
        parse_arms(["vae", "imagenet", "vae"])
    with pytest.raises(ConfigError, match="at least one"):
        parse_arms([])
