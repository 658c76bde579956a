"""Loading: which folder serves an arm, and what is refused before anything is served."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from dermdemo.analysis.serving import Store, load_served, trunk_key
from dermdemo.errors import CheckpointError
from dermdemo.models.arms import find_arm
from dermdemo.models.checkpoint import load_meta, rewrite_meta


def test_arms_are_found_by_their_metadata(store: Path) -> None:
    (store / "vae-arm").rename(store / "anything")
    assert find_arm(store, "vae") == store / "anything"
    served = load_served(Store(root=store), "cpu")
    assert served.arms["vae"].meta.name == "anything" and "anything" in served.models


def test_of_several_the_one_of_that_name_is_taken(store: Path) -> None:
    shutil.copytree(store / "vae-arm", store / "older")
    assert find_arm(store, "vae") == store / "vae-arm"
    (store / "vae-arm").rename(store / "newer")
    with pytest.raises(CheckpointError, match="several classifiers of the arm 'vae' \\(newer, older\\)"):
        find_arm(store, "vae")


def test_a_broken_neighbour_does_not_matter_but_a_broken_arm_does(store: Path) -> None:
    (store / "rubbish").mkdir()
    (store / "rubbish" / "meta.json").write_text("{")
    assert find_arm(store, "vae") == store / "vae-arm"
    (store / "vae-arm" / "meta.json").write_text("{")
    with pytest.raises(CheckpointError, match="vae-arm"):
        find_arm(store, "vae")


def test_a_borrowed_trunk_has_its_owners_key(store: Path) -> None:
    vae, arm, other = (load_meta(store / name) for name in ("vae", "vae-arm", "imagenet-arm"))
    assert trunk_key(vae) == trunk_key(arm) != trunk_key(other)


def test_models_are_frozen_and_in_eval_mode(shared_store: Path) -> None:
    served = load_served(Store(root=shared_store), "cpu")
    for loaded in (served.vae, *served.arms.values()):
        assert not any(m.training for m in loaded.module.modules())
        assert not any(p.requires_grad for p in loaded.module.parameters())


@pytest.mark.parametrize("changes", [
    {"conformal": {"level": 0.95}},
    {"conformal": "of other classes"},
    {"input": "of another normalisation"}])
def test_metadata_that_cannot_be_honoured_are_refused(store: Path, changes: dict[str, Any]) -> None:
    folder = store / "imagenet-arm"
    meta = load_meta(folder)
    if changes.get("conformal") == "of other classes":
        changes = {"conformal": {**meta.conformal, "classes": list("abcdefg")}}
    if "input" in changes:
        changes = {"input": dataclasses.replace(meta.input, mean=(0.5, 0.5, 0.5))}
    rewrite_meta(folder, dataclasses.replace(meta, **changes))
    with pytest.raises(CheckpointError, match="imagenet-arm"):
        load_served(Store(root=store), "cpu")
