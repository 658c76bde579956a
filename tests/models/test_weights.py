"""Weights from files in timm's and torchvision's formats, from checkpoints, and from a hub that is not there."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from dermdemo.errors import CheckpointError
from dermdemo.models.encoder import MEAN, STD
from dermdemo.models.weights import Origin, encoder_from, from_torchvision, read_weights_file
from tests.models.tiny import ATTO, encoder, images, save_encoder, save_vae


def normalised(x: Tensor) -> Tensor:
    return (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def shaken(net: nn.Module) -> nn.Module:
    """Random weights in every tensor, large enough that a swapped pair would show."""
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in net.named_parameters():
            wide = p.ndim > 1 and "layer_scale" not in name
            p.copy_(torch.randn(p.shape, generator=g) * (p[0].numel() ** -0.5 if wide else 0.3))
            if name.endswith(("norm.weight", "gamma")):
                p.add_(1.0)
    return net.eval()


def logits_of(weights: str, name: str, x: Tensor) -> Tensor:
    """What our encoder and the file's own classifier say."""
    model, origin = encoder_from(weights, name)
    assert origin.classifier is not None
    with torch.no_grad():
        return nn.functional.linear(model(x), origin.classifier["weight"], origin.classifier["bias"])


@pytest.fixture(scope="module")
def torchvision_net() -> nn.Module:
    return shaken(torchvision.models.convnext_tiny(weights=None, num_classes=11))


@pytest.fixture(scope="module")
def timm_net() -> nn.Module:
    return shaken(timm.create_model(ATTO, pretrained=False, num_classes=11))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_torchvision_file_gives_torchvisions_logits(
    suffix: str, torchvision_net: nn.Module, tmp_path: Path
) -> None:
    path, state = tmp_path / f"convnext{suffix}", torchvision_net.state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    x = images(2, 64)
    with torch.no_grad():
        expected = torchvision_net(normalised(x))
    found = logits_of(str(path), "convnext_tiny", x)
    assert float(expected.std()) > 0.3  # not a comparison of zeros
    assert float((found - expected).abs().max()) < 1e-4
    assert "torchvision format" in encoder_from(str(path), "convnext_tiny")[1].text


@pytest.mark.parametrize("wrap", [None, "model", "state_dict"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_timm_file_gives_timms_logits(
    suffix: str, wrap: str | None, timm_net: nn.Module, tmp_path: Path
) -> None:
    path, state = tmp_path / f"convnext{suffix}", timm_net.state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save({wrap: state} if wrap else state, path)
    x = images(2, 64)
    with torch.no_grad():
        expected = timm_net(normalised(x))
    assert float(expected.std()) > 0.3
    assert float((logits_of(str(path), ATTO, x) - expected).abs().max()) < 1e-4
    origin = encoder_from(str(path), ATTO)[1]
    assert origin.slug == f"file:convnext{suffix}"
    assert "timm format" in origin.text


def test_an_unknown_torchvision_name_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"features\.9\.0\.weight"):
        from_torchvision({"features.9.0.weight": torch.zeros(1)})


def test_weights_of_another_size_are_refused(timm_net: nn.Module, tmp_path: Path) -> None:
    torch.save(timm_net.state_dict(), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="do not fit the model"):
        encoder_from(str(tmp_path / "w.pth"), "convnext_femto")


def test_a_file_that_lacks_a_tensor_is_refused(timm_net: nn.Module, tmp_path: Path) -> None:
    state = timm_net.state_dict()
    state.pop("stem.0.bias")
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"Missing key.*stem\.0\.bias"):
        encoder_from(str(tmp_path / "w.pth"), ATTO)


# -- files that are no weights
class _Code:
    """Pickled, it runs code when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("how", ["pickle", "torch", "torch-legacy", "beside-weights"])
def test_pickles_with_code_are_refused_and_never_run(how: str, tmp_path: Path) -> None:
    path, marker = tmp_path / "w.pth", tmp_path / "ran"
    code = _Code(marker)
    if how == "pickle":
        path.write_bytes(pickle.dumps(code))
    else:
        payload = {"stem.0.weight": torch.zeros(1), "extra": code} if how == "beside-weights" else code
        torch.save(payload, path, _use_new_zipfile_serialization=how != "torch-legacy")
    with pytest.raises(CheckpointError, match="not a file of plain weights"):
        encoder_from(str(path), ATTO)
    assert not marker.exists()
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert marker.exists()  # the same file does run code where it is trusted


@pytest.mark.parametrize("payload", [
    {"epoch": 3}, [torch.zeros(1)], {0: torch.zeros(1)}, {"model": {"a": "b"}}, torch.zeros(2), {1: 2}, None,
])  # fmt: skip
def test_files_without_a_dictionary_of_tensors_are_refused(payload: Any, tmp_path: Path) -> None:
    torch.save(payload, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="holds no dictionary of tensors"):
        encoder_from(str(tmp_path / "w.pth"), ATTO)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=64), st.binary(max_size=64).map(lambda b: b"\x80\x02" + b),
                      st.binary(max_size=64).map(lambda b: b"PK\x03\x04" + b)),
       suffix=st.sampled_from([".pth", ".safetensors"]))  # fmt: skip
def test_any_bytes_are_refused_with_a_sentence(data: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        read_weights_file(path)


def test_a_truncated_file_is_refused(timm_net: nn.Module, tmp_path: Path) -> None:
    for suffix in (".pth", ".safetensors"):
        path = tmp_path / f"w{suffix}"
        state = timm_net.state_dict()
        save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(CheckpointError, match="not a file of plain weights"):
            encoder_from(str(path), ATTO)


def test_nothing_there_says_what_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="give 'timm', 'random', a weights file"):
        encoder_from(str(tmp_path / "nowhere.pth"))
    with pytest.raises(CheckpointError, match="There are no weights"):
        encoder_from(str(tmp_path))


# -- the hub
def test_a_hub_out_of_reach_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **kwargs: object) -> nn.Module:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(CheckpointError) as caught:
        encoder_from("timm", ATTO)
    message = str(caught.value)
    assert f"{ATTO}.fb_in1k" in message
    assert "--weights FILE" in message
    assert "pretrain-supervised" in message


def test_hub_weights_are_named_and_give_the_hubs_logits(
    timm_net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, asked = timm.create_model, []

    def hub(name: str, *, pretrained: bool = False, **kwargs: Any) -> nn.Module:
        asked.append((name, pretrained))
        return timm_net if pretrained else create(name, pretrained=False, **kwargs)

    monkeypatch.setattr(timm, "create_model", hub)
    model, origin = encoder_from("timm", ATTO)
    assert asked[0] == (f"{ATTO}.fb_in1k", True)
    assert origin.slug == f"timm:{ATTO}.fb_in1k"
    assert "ImageNet-1k" in origin.text
    with torch.no_grad():
        expected = timm_net.forward_head(timm_net.forward_features(normalised(images())), pre_logits=True)
        torch.testing.assert_close(model(images()), expected, rtol=1e-4, atol=1e-5)


# -- our own
def test_random_weights_say_so_and_follow_the_seed() -> None:
    torch.manual_seed(1)
    first, origin = encoder_from("random", ATTO, layer_scale=0.5)
    torch.manual_seed(1)
    again, _ = encoder_from("random", ATTO, layer_scale=0.5)
    assert torch.equal(first.stem[0].weight, again.stem[0].weight)
    assert origin == Origin("random", "random initialisation (layer scale 0.5), never trained")
    assert bool((first.stages[0].blocks[0].gamma == 0.5).all())


@pytest.mark.parametrize("kind", ["encoder", "vae"])
def test_a_checkpoint_folder_gives_its_encoder_and_can_be_borrowed_from(kind: str, tmp_path: Path) -> None:
    model = save_encoder(tmp_path / "m", encoder()) if kind == "encoder" else save_vae(tmp_path / "m").encoder
    found, origin = encoder_from(str(tmp_path / "m"), ATTO)
    assert (origin.slug, origin.base) == ("test:random", tmp_path / "m")
    with torch.no_grad():
        torch.testing.assert_close(found(images()), model.eval()(images()), rtol=0.02, atol=0.02)  # stored as fp16


def test_a_checkpoint_of_another_size_is_refused(tmp_path: Path) -> None:
    save_encoder(tmp_path / "m")
    with pytest.raises(CheckpointError, match="holds a convnext_atto; this run asks for a convnext_tiny"):
        encoder_from(str(tmp_path / "m"), "convnext_tiny")
