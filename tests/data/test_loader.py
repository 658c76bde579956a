"""Pixels for training: what an upload would become, in every way they are served."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dermdemo.data.images import decode_image, to_input
from dermdemo.data.loader import (
    LESION_VIEWS,
    NATURAL_VIEWS,
    Augmentation,
    PixelStore,
    epoch_batches,
    shard,
    to_float,
)
from dermdemo.data.sources import LesionTable
from dermdemo.errors import DataError
from dermdemo.types import InputSpec
from tests.data.layouts import encoded, table_of, table_of_images

SPEC = InputSpec(size=32)
STILL = {"min_zoom": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}


@pytest.fixture(scope="module")
def table() -> LesionTable:
    return table_of_images(list(range(10)), [f"g{i}" for i in range(10)], ["a"] * 10)


def batch(n: int = 6, size: int = 32) -> Tensor:
    g = torch.Generator().manual_seed(0)
    coarse = torch.rand((n, 3, 4, 4), generator=g)
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").clamp(0, 1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- the store
def test_resident_and_streaming_serve_the_same_pixels(table: LesionTable) -> None:
    rows = [7, 0, 3, 9]
    resident = PixelStore(table, rows, SPEC)
    streaming = PixelStore(table, rows, SPEC, memory_limit=0)
    assert resident.resident
    assert not streaming.resident
    for positions in ([0], [3, 1], [2, 2, 0], torch.tensor([1, 3])):
        assert torch.equal(resident.batch(positions), streaming.batch(positions))


@pytest.mark.parametrize("crop", ["center", "squash"])
def test_pixels_are_those_of_an_upload(crop: str, table: LesionTable) -> None:
    spec = InputSpec(size=64, crop=crop)  # type: ignore[arg-type]
    store = PixelStore(table, [4, 2], spec)
    for position, seed in enumerate((4, 2)):
        upload = to_input(decode_image(encoded(seed, size=(48, 40))).pixels, spec)
        assert np.array_equal(store.batch([position])[0].permute(1, 2, 0).numpy(), upload)


def test_batches_are_bytes_in_channels_last_memory(table: LesionTable) -> None:
    store = PixelStore(table, range(3), SPEC)
    served = store.batch([0, 1, 2])
    assert served.dtype == torch.uint8
    assert served.shape == (3, 3, 32, 32)
    assert served.is_contiguous(memory_format=torch.channels_last)
    assert len(store) == 3


def test_a_served_batch_may_be_changed(table: LesionTable) -> None:
    store = PixelStore(table, range(3), SPEC)
    before = store.batch([1]).clone()
    store.batch([0, 1, 2]).zero_()
    assert torch.equal(store.batch([1]), before)


@pytest.mark.parametrize("memory_limit", [0, 2**30])
def test_unreadable_images_point_to_the_audit(memory_limit: int) -> None:
    made = table_of_images([0, 1], ["a", "b"], ["x", "x"])
    data = {"0": encoded(0), "1": b"\x89PNG\r\n\x1a\n broken"}
    table = LesionTable("broken", made.frame, made.classes, data.__getitem__)
    with pytest.raises(DataError, match=r"img-0001.*data audit"):
        PixelStore(table, [0, 1], SPEC, memory_limit=memory_limit).batch([1])


def test_a_missing_file_is_a_data_error() -> None:
    with pytest.raises(DataError, match="has no bytes"):
        PixelStore(table_of(["a"], ["x"]), [0], SPEC)


def test_bytes_become_floats_from_zero_to_one() -> None:
    values = to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, torch.tensor([0.0, 0.2, 1.0]))


# -- augmentation
@pytest.mark.parametrize("views", [LESION_VIEWS, NATURAL_VIEWS])
def test_views_stay_in_range_and_follow_their_seed(views: Augmentation) -> None:
    x = batch()
    first = views(x, seeded(1))
    assert first.shape == x.shape
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1
    assert torch.equal(first, views(x, seeded(1)))
    assert not torch.equal(first, views(x, seeded(2)))
    assert not torch.allclose(first, x, atol=0.02)


@pytest.mark.parametrize("views", [LESION_VIEWS, NATURAL_VIEWS])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_extreme_images_stay_in_range(views: Augmentation, value: float) -> None:
    out = views(torch.full((16, 3, 32, 32), value), seeded())
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1


def test_the_input_is_left_alone_and_the_global_generator_too() -> None:
    x = batch()
    before, state = x.clone(), torch.get_rng_state()
    LESION_VIEWS(x, seeded())
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_jitter_zoom_and_rotation_only_mirrors_remain() -> None:
    x = batch(16)
    out = Augmentation(rotate=False, **STILL)(x, seeded())
    kinds = [("same" if torch.allclose(o, i, atol=1e-5) else "mirror" if torch.allclose(o, i.flip(-1), atol=1e-5)
              else "other") for o, i in zip(out, x, strict=True)]  # fmt: skip
    assert set(kinds) == {"same", "mirror"}


def test_rotation_keeps_the_centre_and_the_colours_of_a_disc() -> None:
    """A disc around the centre is the same from every angle."""
    axis = torch.linspace(-1, 1, 64)
    distance = (axis[:, None].square() + axis[None].square()).sqrt()
    disc = ((0.8 - distance) * 8).sigmoid().expand(8, 3, 64, 64)
    out = Augmentation(rotate=True, **STILL)(disc, seeded())
    inside = distance < 0.95  # the corners show what is reflected at the border
    torch.testing.assert_close(out[..., inside], disc[..., inside], atol=0.03, rtol=0)


@pytest.mark.parametrize(("name", "statistic"), [
    ("brightness", lambda x: x.mean()), ("contrast", lambda x: x.std()),
    ("saturation", lambda x: (x - x.mean(1, keepdim=True)).abs().mean()),
])  # fmt: skip
def test_each_jitter_moves_its_own_quantity(name: str, statistic: object) -> None:
    x = 0.3 + 0.4 * batch(1)
    limits = STILL | {name: 0.2}
    measured = [float(statistic(Augmentation(rotate=False, **limits)(x, seeded(s))) / statistic(x))  # type: ignore[operator]
                for s in range(12)]  # fmt: skip
    assert max(measured) > 1.02
    assert min(measured) < 0.98
    assert all(0.79 < m < 1.21 for m in measured)


def test_an_image_is_augmented_the_same_in_any_place_of_memory() -> None:
    x = batch()
    plain = LESION_VIEWS(x, seeded())
    torch.testing.assert_close(LESION_VIEWS(x.contiguous(memory_format=torch.channels_last), seeded()), plain)


# -- order
sizes = {"count": st.integers(0, 200), "batch_size": st.integers(1, 40), "world": st.integers(1, 5)}


@given(**sizes, seed=st.integers(0, 3), epoch=st.integers(0, 3))
def test_an_epoch_covers_everything_once_over_all_processes(
    count: int, batch_size: int, world: int, seed: int, epoch: int
) -> None:
    served = [list(epoch_batches(count, batch_size, seed=seed, epoch=epoch, rank=r, world=world))
              for r in range(world)]  # fmt: skip
    assert len({len(batches) for batches in served}) == 1  # as many steps everywhere, or they wait for ever
    positions = [int(k) for batches in served for b in batches for k in b]
    assert len(positions) == len(set(positions)) == count - count % world  # the rest waits for another epoch
    assert set(positions) <= set(range(count))
    for batches in served:
        assert all(len(b) == batch_size for b in batches[:-1])
        assert all(1 <= len(b) <= batch_size for b in batches)


@given(**sizes)
def test_the_processes_share_the_batch_that_one_alone_would_take(count: int, batch_size: int, world: int) -> None:
    count -= count % world
    alone = list(epoch_batches(count, batch_size * world, seed=0, epoch=1))
    shared = [list(epoch_batches(count, batch_size, seed=0, epoch=1, rank=r, world=world)) for r in range(world)]
    for step, whole in enumerate(alone):
        assert sorted(int(k) for batches in shared for k in batches[step]) == sorted(whole.tolist())


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return torch.cat(list(epoch_batches(50, 8, seed=seed, epoch=epoch))).tolist()

    torch.manual_seed(1)
    first = order(0, 1)
    torch.manual_seed(2)
    assert order(0, 1) == first
    assert order(0, 2) != first
    assert order(1, 1) != first
    assert first != sorted(first)


@given(st.integers(0, 100), st.integers(1, 6))
def test_shards_cover_everything_once(count: int, world: int) -> None:
    parts = [shard(count, r, world).tolist() for r in range(world)]
    assert sorted(k for part in parts for k in part) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
