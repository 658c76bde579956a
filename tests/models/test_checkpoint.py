"""Checkpoints: what is stored is what is loaded, and anything else is refused with a sentence."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save as dump_safetensors

from dermdemo.errors import CheckpointError, NotFittedError
from dermdemo.models.checkpoint import (
    META_FILE,
    CheckpointMeta,
    Loaded,
    load_classifier,
    load_encoder,
    load_meta,
    load_part,
    load_vae,
    rewrite_meta,
    save_checkpoint,
    storable,
    vae_parts,
)
from dermdemo.models.encoder import part_of
from tests.models.tiny import (
    as_stored,
    classifier,
    encoder,
    images,
    meta,
    save_classifier,
    save_encoder,
    save_vae,
    vae,
)

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a VAE, a classifier that borrows the VAE's trunk, and one that owns everything."""
    store = tmp_path_factory.mktemp("store")
    save_vae(store / "vae")
    start, _ = load_encoder(store / "vae")
    save_classifier(store / "arm", classifier(start), base=store / "vae")
    save_classifier(store / "whole", classifier(encoder(seed=5)))
    return store


@pytest.fixture
def store(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage: metadata copied, weights linked (see `overwrite`)."""

    def copy(source: str, target: str) -> None:
        os.link(source, target) if source.endswith(".safetensors") else shutil.copy2(source, target)

    return Path(shutil.copytree(saved, tmp_path / "store", copy_function=copy))


def overwrite(path: Path, data: bytes) -> None:
    """Give a file other content without touching the one it is linked to."""
    path.unlink()
    path.write_bytes(data)


def edit(folder: Path, change: Change) -> None:
    """Change the content of meta.json."""
    values = json.loads((folder / META_FILE).read_text())
    change(values)
    (folder / META_FILE).write_text(json.dumps(values))


def setter(key: str, value: Any) -> Change:
    return lambda values: values.update({key: value})


# -- round trips
@pytest.mark.parametrize("ae", [False, True])
def test_a_vae_gives_the_same_output_after_loading(ae: bool, tmp_path: Path) -> None:
    model = as_stored(save_vae(tmp_path / "m", vae(ae=ae)))
    loaded = load_vae(tmp_path / "m")
    x = images(2)
    with torch.no_grad():
        assert torch.equal(loaded.module.encode(x).mu, model.encode(x).mu)
        assert torch.equal(loaded.module.encode(x).logvar, model.encode(x).logvar)
        assert torch.equal(loaded.module.reconstruct(x), model.reconstruct(x))
    assert loaded.module.ae is ae
    assert not loaded.module.training


@pytest.mark.parametrize("unfrozen", [0, 1, 2, 4])
def test_a_classifier_gives_the_same_output_after_loading(unfrozen: int, tmp_path: Path) -> None:
    model = classifier(unfrozen=unfrozen)
    save_classifier(tmp_path / "m", model)
    loaded = load_classifier(tmp_path / "m")
    with torch.no_grad():
        assert torch.equal(loaded.module(images(3)), as_stored(model)(images(3)))
    assert loaded.module.head_trained
    assert loaded.module.unfrozen == unfrozen
    assert not loaded.module.training


@pytest.mark.parametrize(("unfrozen", "borrowed"), [(0, {"trunk", "top"}), (1, {"trunk"}), (2, set()), (4, set())])
def test_what_stayed_frozen_is_borrowed(unfrozen: int, borrowed: set[str], tmp_path: Path) -> None:
    save_vae(tmp_path / "vae")
    start, _ = load_encoder(tmp_path / "vae")
    model = classifier(start, unfrozen=unfrozen)
    found = save_classifier(tmp_path / "arm", model, base=tmp_path / "vae")
    assert {b.part for b in found.base} == borrowed
    assert set(found.files) == {"trunk", "top", "head"} - borrowed
    assert {p.stem for p in (tmp_path / "arm").glob("*.safetensors")} == set(found.files)
    with torch.no_grad():
        assert torch.equal(load_classifier(tmp_path / "arm").module(images()), as_stored(model)(images()))


def test_an_encoder_comes_back_from_any_kind(saved: Path, tmp_path: Path) -> None:
    own = as_stored(save_encoder(tmp_path / "enc"))
    with torch.no_grad():
        assert torch.equal(load_encoder(tmp_path / "enc").module(images()), own(images()))
        for name, load in (("vae", load_vae), ("arm", load_classifier), ("whole", load_classifier)):
            inside = load(saved / name).module.encoder
            assert torch.equal(load_encoder(saved / name).module(images()), inside(images()))


def test_matrices_are_half_and_vectors_full_precision(saved: Path) -> None:
    for path in saved.rglob("*.safetensors"):
        for key, value in load_file(path).items():
            assert value.dtype == (torch.float16 if value.ndim > 1 else torch.float32), key


def test_a_small_layer_scale_survives() -> None:
    small = torch.full((4,), 1e-6)
    assert torch.equal(storable({"gamma": small})["gamma"], small)
    assert not torch.equal(storable({"matrix": small.view(2, 2)})["matrix"].float().flatten(), small)


def test_metadata_survives_and_hashes_are_those_of_the_files(store: Path) -> None:
    found = load_meta(store / "arm")
    assert CheckpointMeta.from_json(found.to_json(), "here") == found
    assert found.name == "arm"
    for part, sha in found.files.items():
        assert hashlib.sha256((store / "arm" / f"{part}.safetensors").read_bytes()).hexdigest() == sha


def test_the_models_hash_covers_own_and_borrowed_parts(store: Path) -> None:
    found = load_meta(store / "arm")
    other = dataclasses.replace(found, files={**found.files, "head": "0" * 64})
    base = tuple(dataclasses.replace(b, sha256="0" * 64) for b in found.base)
    assert len({found.sha256, other.sha256, dataclasses.replace(found, base=base).sha256}) == 3
    assert dataclasses.replace(found, metrics={"val": {"loss": 1.0}}).sha256 == found.sha256


# -- writing
def test_saving_again_replaces_the_whole_folder(tmp_path: Path) -> None:
    save_classifier(tmp_path / "m", classifier())
    save_vae(tmp_path / "m")
    assert {p.name for p in (tmp_path / "m").iterdir()} == {
        META_FILE, "trunk.safetensors", "top.safetensors", "decoder.safetensors"}  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_weights_that_cannot_be_stored_leave_the_old_checkpoint_alone(value: float, tmp_path: Path) -> None:
    save_vae(tmp_path / "m")
    before = (tmp_path / "m" / META_FILE).read_text()
    broken = vae(seed=1)
    with torch.no_grad():
        broken.posterior.weight[0, 0] = value  # 1e6 is infinite in fp16
    with pytest.raises(CheckpointError, match=r"posterior\.weight is not finite"):
        save_vae(tmp_path / "m", broken)
    assert (tmp_path / "m" / META_FILE).read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    unwritable = meta("vae", metrics={"val": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path / "m", unwritable, vae_parts(vae()))
    assert list(tmp_path.iterdir()) == []


def test_metadata_can_be_rewritten_alone(store: Path) -> None:
    found = load_meta(store / "arm")
    rewrite_meta(store / "arm", dataclasses.replace(found, temperature=1.25))
    assert load_classifier(store / "arm").meta.temperature == 1.25
    assert load_meta(store / "arm").sha256 == found.sha256


def test_a_vae_stored_before_decoders_drew_a_coarse_picture_draws_as_it_did(store: Path) -> None:
    model, _ = load_vae(store / "vae")
    part = load_part(store / "vae", "decoder", load_meta(store / "vae").files["decoder"])
    older = {k: v.contiguous() for k, v in part.items() if not k.startswith("decoder.coarse.")}
    assert len(older) == len(part) - 2
    data = dump_safetensors(older)
    overwrite(store / "vae" / "decoder.safetensors", data)
    edit(store / "vae", lambda v: v["files"].update(decoder=hashlib.sha256(data).hexdigest()))
    z = torch.randn(2, model.latent)
    with torch.no_grad():
        torch.testing.assert_close(load_vae(store / "vae").module.decode(z, 32), model.decode(z, 32))


# -- refusals
def test_a_folder_without_metadata_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        load_vae(tmp_path)
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        load_encoder(tmp_path / "nowhere")


@pytest.mark.parametrize("part", ["trunk", "top", "decoder"])
def test_a_changed_file_is_not_loaded(part: str, store: Path) -> None:
    path = store / "vae" / f"{part}.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    overwrite(path, bytes(data))
    with pytest.raises(CheckpointError, match=f"{part}.*has changed since it was saved"):
        load_vae(store / "vae")


def test_a_missing_file_is_named(store: Path) -> None:
    (store / "vae" / "decoder.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"decoder\.safetensors' is missing"):
        load_vae(store / "vae")


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"no tensors at all", "truncated"])
def test_what_is_no_safetensors_file_is_refused_even_with_the_right_hash(data: bytes | str, store: Path) -> None:
    path = store / "vae" / "decoder.safetensors"
    blob = path.read_bytes()[:-100] if isinstance(data, str) else data
    overwrite(path, blob)
    edit(store / "vae", lambda v: v["files"].update(decoder=hashlib.sha256(blob).hexdigest()))
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        load_vae(store / "vae")


@pytest.mark.parametrize(("name", "load", "change", "message"), [
    ("vae", load_vae, setter("latent", 7), "do not fit"),
    ("vae", load_vae, setter("encoder", "convnext_femto"), "do not fit"),
    ("vae", load_vae, setter("latent", None), "not a VAE"),
    ("vae", load_vae, setter("kind", "encoder"), "not a VAE"),
    ("arm", load_vae, lambda v: None, "holds a classifier, not a VAE"),
    ("vae", load_classifier, lambda v: None, "holds a vae, not a classifier"),
    ("arm", load_classifier, setter("classes", ["mel", "nv"]), "do not fit"),
    ("arm", load_classifier, setter("hidden", 17), "do not fit"),
    ("arm", load_classifier, setter("hidden", None), "not a classifier"),
    ("arm", load_classifier, lambda v: v["files"].pop("head"), "ships without its part 'head'"),
])  # fmt: skip
def test_metadata_that_does_not_fit_the_weights(
    name: str, load: Callable[[Path], Loaded], change: Change, message: str, store: Path
) -> None:
    edit(store / name, change)
    with pytest.raises(CheckpointError, match=message):
        load(store / name)


@pytest.mark.parametrize("change", [
    setter("kind", "gan"), setter("encoder", "resnet50"), setter("encoder", 3), setter("name", None),
    setter("latent", "6"), setter("latent", 0), setter("hidden", -1), setter("unfrozen_stages", 5),
    setter("classes", [1, 2, 3]), setter("classes", ["nv", "nv", "mel"]), setter("classes", 3),
    setter("files", ["trunk"]), setter("config", None), setter("temperature", "warm"), setter("temperature", 0),
    setter("input", {"size": "32"}), setter("input", {"size": 33}), setter("input", {}), setter("input", None),
    setter("input", {"size": 32, "crop": "corner"}), setter("input", {"size": 32, "mean": [0.5]}),
    setter("base", [{"checkpoint": "vae"}]), setter("base", 1), setter("unheard_of", 1),
    lambda v: v.pop("kind"), lambda v: v.pop("input"),
])  # fmt: skip
def test_metadata_of_the_wrong_form_is_refused(change: Change, store: Path) -> None:
    edit(store / "arm", change)
    with pytest.raises(CheckpointError, match=r"is not a checkpoint's meta\.json"):
        load_classifier(store / "arm")


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", '"x"', '{"schema_version": 1}', "[" * 100_000])
def test_metadata_that_is_no_object_is_refused(text: str, store: Path) -> None:
    (store / "vae" / META_FILE).write_text(text)
    with pytest.raises(CheckpointError, match=r"meta\.json"):
        load_vae(store / "vae")


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_other_schema_versions_are_refused(version: object, store: Path) -> None:
    edit(store / "vae", setter("schema_version", version))
    with pytest.raises(CheckpointError, match="reads version 1"):
        load_vae(store / "vae")


@pytest.mark.parametrize("dropout", ["half", 1.0, -0.1])
def test_an_impossible_dropout_is_refused(dropout: object, store: Path) -> None:
    edit(store / "arm", lambda v: v["config"].update(dropout=dropout))
    with pytest.raises(CheckpointError, match="dropout"):
        load_classifier(store / "arm")


def test_an_untrained_head_is_refused(store: Path) -> None:
    edit(store / "arm", setter("head_trained", False))
    with pytest.raises(NotFittedError, match="never been trained"):
        load_classifier(store / "arm")


@pytest.mark.parametrize(("rename", "message"), [("missing", "Missing key"), ("extra", "Unexpected key")])
def test_loading_is_strict_about_names(rename: str, message: str, tmp_path: Path) -> None:
    parts = vae_parts(vae())
    if rename == "missing":
        parts["decoder"].pop("posterior.bias")
    else:
        parts["decoder"]["posterior.spare"] = torch.zeros(1)
    save_checkpoint(tmp_path / "m", meta("vae"), parts)
    with pytest.raises(CheckpointError, match=f"do not fit the model: {message}"):
        load_vae(tmp_path / "m")


# -- borrowed parts
def test_a_borrowed_trunk_is_found_by_its_hash_under_another_name(store: Path) -> None:
    expected = load_classifier(store / "arm").module(images())
    (store / "vae").rename(store / "renamed")
    (store / "broken").mkdir()
    (store / "broken" / META_FILE).write_text("not json")
    assert torch.equal(load_classifier(store / "arm").module(images()), expected)


def test_a_borrowed_trunk_that_is_gone_is_refused(store: Path) -> None:
    shutil.rmtree(store / "vae")
    with pytest.raises(CheckpointError, match="not beside it"):
        load_classifier(store / "arm")


def test_another_checkpoint_of_the_same_name_is_not_borrowed_from(store: Path) -> None:
    save_vae(store / "vae", vae(seed=9))
    with pytest.raises(CheckpointError, match="not beside it"):
        load_classifier(store / "arm")


def test_a_changed_borrowed_trunk_is_refused(store: Path) -> None:
    path = store / "vae" / "trunk.safetensors"
    overwrite(path, path.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="has changed"):
        load_classifier(store / "arm")


def test_models_loaded_together_share_their_trunk(store: Path) -> None:
    known: dict[str, dict[str, torch.Tensor]] = {}
    vae, arm = load_vae(store / "vae", known), load_classifier(store / "arm", known)
    alone, other = load_classifier(store / "arm"), load_classifier(store / "whole", known)
    theirs, foreign = arm.module.encoder.state_dict(), other.module.encoder.state_dict()
    for name, value in vae.module.encoder.state_dict().items():
        same = part_of(name) == "trunk" or arm.meta.files["top"] == vae.meta.files["top"]
        assert (theirs[name].data_ptr() == value.data_ptr()) == same, name
        assert foreign[name].data_ptr() != value.data_ptr(), name
    assert {vae.meta.files["trunk"], other.meta.files["trunk"]} <= set(known)
    x = images()
    with torch.no_grad():
        torch.testing.assert_close(arm.module(x), alone.module(x), rtol=0, atol=0)


def test_a_loaded_model_is_whole_and_can_be_trained(store: Path) -> None:
    for loaded in (load_vae(store / "vae"), load_classifier(store / "arm")):
        tensors = [*loaded.module.parameters(), *loaded.module.buffers()]
        assert not any(t.is_meta for t in tensors) and {t.dtype for t in tensors} == {torch.float32}
    arm = load_classifier(store / "arm").module
    trained = {n for n, p in arm.named_parameters() if p.requires_grad}
    assert trained == {n for n in arm.state_dict() if n.startswith(("head.", "encoder.stages.3.", "encoder.norm."))}


def test_loaded_is_module_and_metadata(saved: Path) -> None:
    loaded = load_vae(saved / "vae")
    assert isinstance(loaded, Loaded)
    assert loaded.meta == load_meta(saved / "vae")
    assert all(p.dtype == torch.float32 for p in loaded.module.parameters())
