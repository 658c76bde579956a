"""Arms of the study by name: an arm of Stage II, and for the controls what is trained and how it starts.

``random`` trains its last stage like the others; ``-head`` freezes the whole encoder; ``-ls1`` starts a random
encoder with layer scale 1 in place of timm's 1e-6, which leaves it little more than its stem and downsampling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from dermdemo.config import ARMS, Arm, FinetuneConfig
from dermdemo.errors import ConfigError

DEFAULT_ARMS = ("vae", "imagenet", "random", "random-head", "random-ls1", "random-head-ls1", "scratch")
PIXELS = "pixels"
UNTRAINED = ("random", "scratch")
CLAIMED, AGAINST = "vae", "imagenet"  # the arms of the paper's claim
OTHER_TASKS = ("ae", "ssl")  # pretrained without labels like the claimed arm, by another task
# What pretraining must beat.
RANDOM = {"random": "a random encoder", "random-ls1": "a random encoder with layer scale 1"}
ALL_STAGES = 4
WORDS = {
    "vae": "VAE on lesions, no labels",
    "ae": "plain autoencoder on lesions, no labels",
    "ssl": "SimCLR on lesions, no labels",
    "imagenet": "natural images, with labels",
    "random": "random weights",
    "scratch": "random weights",
    PIXELS: "PCA of pixels, logistic regression",
}


# What arms are set against, by figures of train and val and by those of test.
TRAINED_REFERENCES = (AGAINST, CLAIMED, *RANDOM)
REFERENCES = (*TRAINED_REFERENCES, PIXELS)


def compared_with(reference: str, arms: Sequence[str]) -> tuple[str, ...]:
    """The arms that are set against a reference: all others; against the claimed one its like, `OTHER_TASKS`."""
    return tuple(a for a in arms if a != reference and (reference != CLAIMED or a in OTHER_TASKS))


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One arm as it is trained here; `name` such as ``random-head-ls1``."""

    name: str
    arm: Arm
    head_only: bool = False
    layer_scale_one: bool = False

    def config(self, base: FinetuneConfig, seed: int) -> FinetuneConfig:
        """The settings all arms share, with what this arm changes of them."""
        unfrozen = 0 if self.head_only else ALL_STAGES if self.arm == "scratch" else base.unfrozen_stages
        scale = 1.0 if self.layer_scale_one else base.layer_scale
        return dataclasses.replace(base, seed=seed, unfrozen_stages=unfrozen, layer_scale=scale)

    def to_text(self, base: FinetuneConfig) -> str:
        """``random weights, layer scale 1; head only trained``."""
        stages = self.config(base, 0).unfrozen_stages
        trained = {0: "head only", 1: "head and last stage", ALL_STAGES: "everything"}
        start = WORDS[self.arm] + (", layer scale 1" if self.layer_scale_one else "")
        return f"{start}; {trained.get(stages, f'head and last {stages} stages')} trained"


def parse_variant(name: str) -> Variant:
    """``vae``, ``imagenet-head``, ``random-ls1``, ``random-head-ls1`` and so on.

    Raises:
        ConfigError: no such arm, or a suffix that has no meaning for it.
    """
    arm, *suffixes = name.split("-")
    known = [s for s in ("head", "ls1") if s in suffixes]
    if arm not in ARMS or suffixes != known:
        raise ConfigError(f"There is no arm '{name}': take {', '.join(ARMS)}, with -head (only the head is trained) "
                          "and, for random and scratch, -ls1 (layer scale 1).")
    if "head" in known and arm == "scratch":
        raise ConfigError("'scratch' trains everything: with only the head trained it is 'random-head'.")
    if "ls1" in known and arm not in UNTRAINED:
        raise ConfigError(f"'{name}': layer scale 1 is for untrained encoders; pretrained ones have their own.")
    return Variant(name=name, arm=cast(Arm, arm), head_only="head" in known, layer_scale_one="ls1" in known)


def parse_arms(names: Sequence[str]) -> tuple[Variant, ...]:
    """Variants in the order given. Raises ConfigError on an unknown or repeated name, or none."""
    if not names:
        raise ConfigError("A study needs at least one arm.")
    twice = sorted({n for n in names if list(names).count(n) > 1})
    if twice:
        raise ConfigError(f"Named twice: {', '.join(twice)}.")
    return tuple(parse_variant(n) for n in names)


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Arms as tables list them, whenever they joined: pretrained without labels, with labels, not at all."""
    order = ("vae", *OTHER_TASKS, "imagenet", *UNTRAINED)
    return tuple(sorted(names, key=lambda name: order.index(name.split("-")[0])))
