"""Deletion, insertion and cascading randomisation, on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.faithfulness import cascading_randomisation, faithfulness
from dermdemo.errors import ConfigError
from dermdemo.types import Attribution, DecodedImage

SIZE = 32


def cam(heat: np.ndarray) -> Attribution:
    heat = heat.astype(np.float32)
    return Attribution(arm="vae", target="mel", layer="stages[-1]", heat=heat, grid=(4, 4), peak=1.0)


@pytest.fixture
def corner() -> Tensor:
    """Black but for a bright corner."""
    x = torch.zeros(1, 3, SIZE, SIZE)
    x[:, :, :8, :8] = 1
    return x


def corner_brightness(batch: Tensor) -> np.ndarray:
    return batch[:, :, :8, :8].mean((1, 2, 3)).numpy()


def right_map() -> np.ndarray:
    heat = np.zeros((SIZE, SIZE))
    heat[:8, :8] = 1
    return heat


def test_the_right_map_beats_random_maps_and_the_wrong_one_does_not(corner: Tensor) -> None:
    right = faithfulness(corner_brightness, corner, cam(right_map()), steps=16)
    wrong = faithfulness(corner_brightness, corner, cam(1 - right_map()), steps=16)
    assert right.better_than_random and not wrong.better_than_random
    assert right.deletion < wrong.deletion and right.insertion > wrong.insertion
    assert right.deletion < 0.15 and right.insertion > 0.9


def test_curves_run_from_the_image_to_nothing_and_back(corner: Tensor) -> None:
    found = faithfulness(corner_brightness, corner, cam(right_map()), steps=8, controls=2)
    assert found.fractions == tuple(np.linspace(0, 1, 9))
    assert len(found.deletion_curve) == len(found.insertion_curve) == 9 and found.controls == 2
    assert found.deletion_curve[0] == found.insertion_curve[-1] == pytest.approx(1)
    assert found.deletion_curve[-1] == pytest.approx(64 / SIZE**2)
    assert found == faithfulness(corner_brightness, corner, cam(right_map()), steps=8, controls=2)


def test_the_control_has_curves_of_its_own_areas(corner: Tensor) -> None:
    found = faithfulness(corner_brightness, corner, cam(right_map()), steps=8, controls=3)
    for curve, area in ((found.random_deletion_curve, found.random_deletion),
                        (found.random_insertion_curve, found.random_insertion)):
        assert np.trapezoid(curve, found.fractions) == pytest.approx(area)


def test_a_flat_map_and_no_steps_are_refused(corner: Tensor) -> None:
    with pytest.raises(ConfigError, match="flat"):
        faithfulness(corner_brightness, corner, cam(np.zeros((SIZE, SIZE))))
    with pytest.raises(ConfigError):
        faithfulness(corner_brightness, corner, cam(right_map()), steps=0)


def test_a_model_can_be_asked(analyser: Analyser, pictures: list[DecodedImage]) -> None:
    result = analyser.analyse(pictures[0])
    found = analyser.faithfulness(result, "vae", steps=3, controls=1)
    probability = result.arms["vae"].probabilities[result.arms["vae"].top]
    assert found.deletion_curve[0] == pytest.approx(probability, abs=1e-4)
    assert found.insertion_curve[-1] == pytest.approx(probability, abs=1e-4)
    assert (found.arm, found.target, found.layer) == ("vae", result.arms["vae"].top, "stages[-1]")


def test_randomising_the_weights_changes_the_map_and_spares_the_model(
        analyser: Analyser, pictures: list[DecodedImage]) -> None:
    result = analyser.analyse(pictures[0], layer="stages[-2]")
    steps = analyser.sanity(result, "imagenet")
    assert [s.part for s in steps] == ["head", "norm", "stages[3]", "stages[2]", "stages[1]", "stages[0]", "stem"]
    assert all(-1 <= s.correlation <= 1 for s in steps)
    assert min(abs(s.correlation) for s in steps) < 0.9
    again = analyser.analyse(pictures[0], layer="stages[-2]")
    np.testing.assert_array_equal(again.attributions["imagenet"].heat, result.attributions["imagenet"].heat)


def test_the_cascade_repeats_itself(analyser: Analyser, pictures: list[DecodedImage]) -> None:
    model = analyser._served.arms["imagenet"].module
    x = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    assert cascading_randomisation(model, x, 1, "stages[-1]") == cascading_randomisation(model, x, 1, "stages[-1]")
