"""The encoder against timm's own network; every registered size, shapes without weights."""

from __future__ import annotations

import pytest
import timm
import torch

from dermdemo.errors import ConfigError
from dermdemo.models.encoder import ENCODERS, MEAN, STAGES, STD, Encoder, part_of
from tests.models.tiny import ATTO, encoder, images, without_gradient


@pytest.mark.parametrize("name", ENCODERS)
def test_every_size_builds_and_keeps_its_shapes(name: str) -> None:
    with torch.device("meta"):
        model = Encoder(name)
        x = torch.empty(2, 3, 64, 96)
        features = model.trunk(x)
        fmap = model.top(features)
        pooled = model.pool(fmap)
    assert features.shape[2:] == (4, 6)
    assert fmap.shape == (2, model.width, 2, 3)
    assert pooled.shape == (2, model.width)
    assert model.width == {"atto": 320, "femto": 384, "pico": 512, "nano": 640, "tiny": 768, "small": 768,
                           "base": 1024}[name.removeprefix("convnext_")]  # fmt: skip


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="convnext_tiny"):
        Encoder("resnet50")


def test_features_are_those_of_timm() -> None:
    net = timm.create_model(ATTO, pretrained=False, num_classes=0, ls_init_value=0.5).eval()
    model = encoder().eval()
    model.load_state_dict({k.removeprefix("head."): v for k, v in net.state_dict().items()})
    x = images(2, 64)
    normalised = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(model(x), net(normalised), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(model.top(model.trunk(x)), net.forward_features(normalised), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stages", range(STAGES + 1))
def test_trunk_and_top_join_wherever_they_are_cut(stages: int) -> None:
    model, x = encoder().eval(), images()
    with torch.no_grad():
        joined = model.pool(model.top(model.trunk(x, stages), stages))
        torch.testing.assert_close(joined, model(x))


def test_one_image_alone_gets_what_it_gets_in_a_batch() -> None:
    model, x = encoder().eval(), images(3)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-5)


def test_normalisation_moves_with_the_model_and_is_not_stored() -> None:
    model = encoder()
    assert {"mean", "std"} <= {name for name, _ in model.named_buffers()}
    assert not {"mean", "std"} & set(model.state_dict())


def test_finite_gradients_reach_every_parameter() -> None:
    model = encoder()
    (model(images(4)) * torch.arange(model.width)).sum().backward()
    assert without_gradient(model) == []


def test_gradients_are_finite_at_timms_own_layer_scale() -> None:
    model = encoder(layer_scale=1e-6)
    (model(images(4)) * torch.arange(model.width)).sum().backward()
    assert without_gradient(model) == []


@pytest.mark.parametrize("value", [1e-6, 1.0])
def test_layer_scale_sets_every_block(value: float) -> None:
    gammas = [p for name, p in encoder(layer_scale=value).named_parameters() if name.endswith("gamma")]
    assert gammas
    assert all(bool((g == value).all()) for g in gammas)


def test_drop_path_acts_in_training_only() -> None:
    model, x = encoder(drop_path=0.9, layer_scale=1.0), images(4)
    with torch.no_grad():
        assert not torch.equal(model.train()(x), model(x))
        assert torch.equal(model.eval()(x), model(x))


@pytest.mark.parametrize("unfrozen", range(STAGES + 1))
def test_freezing_leaves_the_last_stages_trainable(unfrozen: int) -> None:
    model = encoder()
    model.trainable_from(unfrozen)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    stages = {f"stages.{k}." for k in range(STAGES - unfrozen, STAGES)}
    heads = stages | ({"norm."} if unfrozen else set()) | ({"stem."} if unfrozen == STAGES else set())
    expected = {name for name, _ in model.named_parameters() if name.startswith(tuple(heads))} if heads else set()
    assert trained == expected


def test_freezing_can_be_taken_back() -> None:
    model = encoder()
    model.trainable_from(0)
    model.trainable_from(STAGES)
    assert all(p.requires_grad for p in model.parameters())


def test_parts_cover_every_tensor_once_and_match_the_groups() -> None:
    model = encoder()
    keys = {"trunk": set(), "top": set()}
    for key in model.state_dict():
        keys[part_of(key)].add(key)
    assert keys["trunk"] | keys["top"] == set(model.state_dict())
    sizes = {part: sum(model.state_dict()[k].numel() for k in found) for part, found in keys.items()}
    grouped = {part: sum(p.numel() for m in modules for p in m.parameters())
               for part, modules in model.groups().items()}  # fmt: skip
    assert sizes == grouped


def test_the_stage_number_is_read_whole() -> None:
    assert part_of("stages.3.blocks.0.gamma") == "top"
    assert part_of("stages.2.blocks.3.norm.weight") == "trunk"
    assert part_of("stem.1.weight") == "trunk"


@pytest.mark.parametrize("name", [ATTO, "convnext_tiny"])
def test_a_seed_gives_timms_initial_weights_under_timms_names(name: str) -> None:
    torch.manual_seed(3)
    net = timm.create_model(name, pretrained=False, num_classes=0, ls_init_value=0.1, drop_path_rate=0.2)
    torch.manual_seed(3)
    model = Encoder(name, layer_scale=0.1, drop_path=0.2)
    theirs = {k.removeprefix("head."): v for k, v in net.state_dict().items()}
    ours = model.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_size_has_timms_shapes(name: str) -> None:
    with torch.device("meta"):
        model = Encoder(name)
        net = timm.create_model(name, pretrained=False, num_classes=0)
    theirs = {k.removeprefix("head."): v.shape for k, v in net.state_dict().items()}
    assert {k: v.shape for k, v in model.state_dict().items()} == theirs


@pytest.mark.parametrize("name", [ATTO, "convnext_tiny"])
def test_training_drops_the_same_paths_as_timm(name: str) -> None:
    net = timm.create_model(name, pretrained=False, num_classes=0, ls_init_value=0.5, drop_path_rate=0.5).train()
    model = Encoder(name, drop_path=0.5).train()
    model.load_state_dict({k.removeprefix("head."): v for k, v in net.state_dict().items()})
    x = images(4)
    normalised = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    torch.manual_seed(0)
    expected = net(normalised)
    torch.manual_seed(0)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)
