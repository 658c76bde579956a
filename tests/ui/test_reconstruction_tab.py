"""The Reconstruction tab without a browser: what the handlers draw, and what they say when they cannot."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dermdemo.analysis.analyser import Analyser
from dermdemo.data.synthetic import synthetic_lesion
from dermdemo.types import Analysis, LatentDimension
from dermdemo.ui import reconstruction_page as page
from dermdemo.ui import text
from dermdemo.ui.context import Context
from dermdemo.ui.figures import data_uri
from dermdemo.ui.tabs import reconstruct
from dermdemo.ui.wording import reconstruct as words
from tests.ui.conftest import make_context


def analysed(context: Context, label: str = "mel", seed: int = 1, name: str = "a picture") -> tuple[str, Analysis]:
    assert context.analyser is not None
    analysis = context.analyser.analyse(synthetic_lesion(label, seed), name=name)
    return context.results.put(analysis), analysis


def pictures(shown: str) -> list[str]:
    return re.findall(r'src="(data:image/png;base64,[^"]+)"', shown)


def test_the_page_shows_the_numbers_and_pictures_of_the_analysis(context: Context) -> None:
    key, analysis = analysed(context)
    shown, made = reconstruct.show(context, key), analysis.reconstruction
    for wanted in (text.decibel(made.psnr), f"{made.ssim:.3f}", f"{made.error.mean():.3f}", f"{made.error.max():.3f}",
                   f"become {analysis.mu.size} numbers", "12,288 values"):
        assert wanted in shown
    assert {data_uri(made.original), data_uri(made.image)} < set(pictures(shown))
    assert 'type="range"' in shown and words.COMPARE_ARIA in shown


def test_another_lesion_gives_another_page(context: Context) -> None:
    first, second = (reconstruct.show(context, analysed(context, *which)[0]) for which in (("mel", 1), ("vasc", 2)))
    assert not set(pictures(first)) & set(pictures(second))


def test_samples_are_those_of_the_seed(context: Context) -> None:
    key, analysis = analysed(context)
    assert context.analyser is not None
    shown = reconstruct.show_samples(context, key, 3)
    wanted = context.analyser.posterior_samples(analysis, count=reconstruct.SAMPLES, seed=3)
    assert pictures(shown)[:-1] == [data_uri(p) for p in wanted]
    assert shown == reconstruct.show_samples(context, key, 3) != reconstruct.show_samples(context, key, 4)
    assert "Seed 3" in shown and f"{np.exp(0.5 * analysis.logvar).mean():.2f}" in shown


def test_draws_that_do_not_differ_are_said(context: Context) -> None:
    _, analysis = analysed(context)
    assert words.SAMPLES_SAME in page.samples(analysis, np.zeros((3, 8, 8, 3), np.uint8), 0)


def test_a_walk_goes_through_the_dimension_that_was_chosen(context: Context) -> None:
    key, analysis = analysed(context)
    assert context.analyser is not None
    third = context.analyser.dimensions()[2]
    shown = reconstruct.show_walk(context, key, third.index)
    wanted = context.analyser.traverse(analysis, third.index, page.values_of(third))
    assert pictures(shown)[:-1] == [data_uri(p) for p in wanted]
    assert page.number(third.low) in shown and page.number(third.high) in shown
    assert words.WALK_OWN.format(value=page.number(float(analysis.mu[third.index]))) in shown
    first = context.analyser.dimensions()[0]
    assert reconstruct.show_walk(context, key, None) == reconstruct.show_walk(context, key, first.index)


def test_dimensions_are_offered_in_order_of_activity(context: Context) -> None:
    assert context.analyser is not None
    known = context.analyser.dimensions()
    offered = page.choices(known)
    assert [index for _, index in offered] == [d.index for d in known]
    assert offered[0][0] == f"1st most active, dimension {known[0].index}, spread {known[0].spread:.2f}"
    assert [words.ordinal(n) for n in (1, 2, 3, 4, 11, 12, 21, 102, 111, 256)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "102nd", "111th", "256th"]


@pytest.mark.parametrize(("own", "place", "outside"), [(0.0, "0.5000", False), (9.0, "1.0000", True)])
def test_the_own_value_is_marked_within_the_ruler(own: float, place: str, outside: bool) -> None:
    dimension = LatentDimension(index=5, spread=1.0, low=-2.0, high=2.0)
    shown = page.walk(dimension, own, np.zeros((page.STEPS, 8, 8, 3), np.uint8))
    assert f"--dd-at: {place}" in shown
    assert (words.WALK_OUTSIDE.format(low="−2.00", high="2.00") in shown) is outside
    assert words.WALK_NOTHING in shown


def test_kept_detail_is_a_share_and_a_perfect_copy_keeps_all(context: Context) -> None:
    _, analysis = analysed(context)
    made = analysis.reconstruction
    assert 0 <= page.detail_kept(made) <= 1
    assert page.detail_kept(replace(made, image=made.original // 2)) == pytest.approx(0.25, abs=0.05)
    assert page.detail_kept(replace(made, image=np.full_like(made.original, 90))) == 0
    assert page.detail_kept(replace(made, image=made.original)) == 1
    assert page.detail_kept(replace(made, original=np.zeros_like(made.original))) == 1


def test_a_name_is_escaped(context: Context) -> None:
    key, _ = analysed(context, name="<img src=x onerror=alert(1)>")
    assert "<img src=x" not in reconstruct.show(context, key)


def test_before_the_first_image_and_after_the_last_hour_it_is_said(context: Context) -> None:
    for key, said in (("", text.SUBJECT_NONE), ("gone", text.SUBJECT_GONE)):
        assert said in reconstruct.show(context, key)
        assert said in reconstruct.show_samples(context, key, 0) and said in reconstruct.show_walk(context, key, None)


def test_another_image_takes_everything_of_the_previous_one_away(context: Context) -> None:
    key, _ = analysed(context)
    shown, card, _, seed, samples, dimension, walk = reconstruct.begin(context, key, 4)
    assert "dd-compare" in shown and seed == 0 and card.visible and dimension.value == 4
    assert pictures(samples) == pictures(walk) == [] and "data-waiting" in samples and "data-waiting" in walk
    assert samples != reconstruct.begin(context, key, 4)[4], "each waiting place must be a new value"
    shown, card, _, _, samples, dimension, walk = reconstruct.begin(context, "", 4711)
    assert text.SUBJECT_NONE in shown and not card.visible and samples == walk == ""
    assert dimension.value == page.choices(context.analyser.dimensions())[0][1]  # type: ignore[union-attr]


def test_without_models_it_is_said(tmp_path: Path) -> None:
    bare = make_context(None, tmp_path)
    shown, card, *_ = reconstruct.begin(bare, "", None)
    assert text.NO_MODELS_TEXT in shown and not card.visible


def test_models_that_were_replaced_give_a_sentence(shared_store: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(shared_store, tmp_path / "store"))
    context = make_context(Analyser(store, device="cpu"), tmp_path)
    key, _ = analysed(context)
    assert context.analyser is not None
    shutil.rmtree(store / "vae-arm")
    shutil.copytree(store / "imagenet-arm", store / "vae-arm")
    meta = store / "vae-arm" / "meta.json"
    meta.write_text(meta.read_text().replace('"imagenet"', '"vae"'))
    context.analyser.reload()
    assert "replaced" in reconstruct.show_samples(context, key, 0)
    assert "replaced" in reconstruct.show_walk(context, key, None)
    assert "dd-compare" in reconstruct.show(context, key), "what the result holds is still shown"


def test_a_failing_model_gives_a_sentence_and_a_log_entry(context: Context, monkeypatch: pytest.MonkeyPatch,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object, **__: object) -> np.ndarray:
        raise RuntimeError("secret detail")

    key, _ = analysed(context)
    monkeypatch.setattr(Analyser, "traverse", broken)
    shown = reconstruct.show_walk(context, key, None)
    assert text.FAILED_INTERNAL in shown and "secret detail" not in shown and "secret detail" in caplog.text


def test_a_dimension_that_is_not_there_gives_a_sentence(context: Context) -> None:
    key, _ = analysed(context)
    assert 'role="alert"' in reconstruct.show_walk(context, key, 4711)
