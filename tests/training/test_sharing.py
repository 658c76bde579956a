"""What runs share is what each would compute: what one trunk makes of the images and of their views."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from dermdemo.config import FinetuneConfig
from dermdemo.data.readable import prepare
from dermdemo.data.synthetic import write_synthetic
from dermdemo.models.encoder import Encoder
from dermdemo.training.finetune import FinetuneTask
from dermdemo.training.loop import make_fabric
from dermdemo.training.sharing import KEPT_FEATURES, Extras, Shared
from tests.models.tiny import ATTO, encoder

CONFIG = FinetuneConfig(schedule="32x1", batch_size=16, views=2, device="cpu", precision="fp32")


def test_features_and_views_of_one_trunk_are_made_once_for_all_seeds(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, split = prepare(str(write_synthetic(tmp_path / "lesions", n_lesions=42, seed=5)), split_seed=0)
    shared, seen, original = Shared(table), [0], Encoder.trunk

    def counted(self: Encoder, x: torch.Tensor, stages: int = 3) -> torch.Tensor:
        seen[0] += len(x)
        return original(self, x, stages)

    monkeypatch.setattr(Encoder, "trunk", counted)

    def started(seed: int, of_encoder: int, extras: Extras | None) -> tuple[FinetuneTask, int]:
        config, before = dataclasses.replace(CONFIG, seed=seed), seen[0]
        work = FinetuneTask(config, table, split, make_fabric(config), encoder(seed=of_encoder), extras)
        work.start_phase(32)
        return work, seen[0] - before

    extras = Extras(shared=shared)
    first, all_images = started(0, 0, extras)
    second, nothing = started(1, 0, extras)
    other, anew = started(1, 1, extras)
    alone, _ = started(1, 0, None)
    views = 2 * len(first.train_rows)
    assert (all_images, nothing, anew) == (views + len(first.plain[1]) + len(first.val[1]), 0, all_images)
    assert first.views.shape[:2] == (2, len(first.train_rows))
    assert not torch.equal(first.views[0], first.views[1]), "views differ"
    for a, b in ((second.views, alone.views), (second.plain[0], alone.plain[0]), (second.val[0], alone.val[0])):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert not torch.equal(other.val[0], second.val[0]), "another trunk"
    assert not torch.equal(other.views, second.views)
    assert len(shared._features) == KEPT_FEATURES


def test_an_encoder_is_known_by_its_weights_not_its_name(tmp_path: Path) -> None:
    from dermdemo.models.classifier import Classifier
    from dermdemo.training.sharing import frozen_hash

    a, b = (Classifier(encoder(seed=0), 3, unfrozen=u) for u in (1, 1))
    assert frozen_hash(a) == frozen_hash(b)
    with torch.no_grad():
        b.encoder.stages[3].blocks[0].mlp.fc1.weight.add_(1)
    assert frozen_hash(a) == frozen_hash(b), "what is trained is not part of it"
    assert frozen_hash(Classifier(Encoder(ATTO), 3)) != frozen_hash(a)
    assert frozen_hash(Classifier(encoder(seed=0), 3, unfrozen=0)) != frozen_hash(a)
