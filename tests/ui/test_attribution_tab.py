"""The Attribution tab without a browser: maps for any class and layer, and what is measured on demand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.faithfulness import Faithfulness, SanityStep
from dermdemo.diagnoses import full_name
from dermdemo.errors import CheckpointError
from dermdemo.types import Analysis
from dermdemo.ui import attribution_page as page
from dermdemo.ui import small_charts as charts
from dermdemo.ui import text
from dermdemo.ui.context import Context
from dermdemo.ui.figures import ATTENTION_MAP, colourise, data_uri, escape
from dermdemo.ui.tabs import attribution
from dermdemo.ui.tabs.attribution import LAYER, OWN
from dermdemo.ui.wording import attribution as words
from tests.ui.conftest import make_context
from tests.ui.test_reconstruction_tab import analysed, pictures

FINE = "stages[-2]"
CURVE = (0.8, 0.4, 0.0)


def measured(**changes: float) -> Faithfulness:
    areas = {"deletion": 0.2, "insertion": 0.7, "random_deletion": 0.4, "random_insertion": 0.5} | changes
    return Faithfulness(arm="vae", target="mel", layer=FINE, fractions=(0.0, 0.5, 1.0), deletion_curve=CURVE,
                        insertion_curve=CURVE[::-1], random_deletion_curve=CURVE, random_insertion_curve=CURVE,
                        controls=3, **areas)


def flat(analysis: Analysis) -> Analysis:
    """The same, but nothing speaks for the class of the first arm."""
    arm, cam = next(iter(analysis.attributions.items()))
    return replace(analysis, attributions={**analysis.attributions,
                                           arm: replace(cam, heat=np.zeros_like(cam.heat), peak=0.0)})


def test_the_page_shows_the_maps_of_the_analysis_without_a_model(context: Context, monkeypatch: pytest.MonkeyPatch
                                                                 ) -> None:
    key, analysis = analysed(context)
    monkeypatch.delattr(Analyser, "attribute")
    shown = attribution.show(context, key, OWN, LAYER)
    for arm, cam in analysis.attributions.items():
        assert data_uri(colourise(cam.heat, ATTENTION_MAP)) in pictures(shown)
        caption = words.CAPTION.format(arm=text.arm_name(arm), target=full_name(cam.target))
        share = text.percent(analysis.arms[arm].probabilities[cam.target])
        assert f"{cam.peak:.3g}" in shown and escape(caption) in shown and escape(share) in shown
    assert shown.count('class="dd-scale"') == 1
    assert "2 × 2 = 4 values, each for 32 × 32 px of the 64 px input" in shown
    assert words.COARSE.format(cells=4) in shown


@pytest.mark.parametrize("layer", [LAYER, FINE])
def test_any_class_and_layer_can_be_asked_for(context: Context, layer: str) -> None:
    key, analysis = analysed(context)
    assert context.analyser is not None
    shown = attribution.show(context, key, "bcc", layer)
    for cam in context.analyser.attribute(analysis, target="bcc", layer=layer).values():
        assert data_uri(colourise(cam.heat, ATTENTION_MAP)) in pictures(shown)
    assert shown.count(full_name("bcc")) >= 2 and layer in shown
    assert ("4 × 4 = 16 values" in shown) is (layer == FINE)


def test_two_lesions_give_two_pairs_of_maps(context: Context) -> None:
    first, second = (attribution.show(context, analysed(context, *which)[0], "mel", FINE)
                     for which in (("mel", 1), ("vasc", 2)))
    assert not set(re.findall(r'class="dd-heat" src="([^"]+)"', first)) & set(pictures(second))


def test_classes_are_offered_by_full_name(context: Context) -> None:
    offered = attribution.choices(context)
    assert offered[0] == (words.CLASS_OWN, OWN) and (full_name("akiec"), "akiec") in offered
    assert len(offered) == 8 and set(words.LAYER_CHOICES) == set(context.analyser.layers)  # type: ignore[union-attr]


def test_a_flat_map_is_said_and_not_measured(context: Context) -> None:
    _, analysis = analysed(context)
    key = context.results.put(flat(analysis))
    shown = attribution.show(context, key, OWN, LAYER)
    assert words.FLAT in shown and words.FLAT_TAG in shown and shown.count("dd-heat") == 1
    shown = list(attribution.measure(context, key, OWN, LAYER))[-1]
    assert words.FLAT in shown and shown.count("dd-minis") == 1, "the other arm is measured all the same"
    shown = list(attribution.randomise(context, key, OWN, LAYER))[-1]
    assert words.FLAT in shown and shown.count("dd-deviations") == 1


def test_measuring_tells_how_far_it_is_and_ends_with_the_numbers(context: Context) -> None:
    key, analysis = analysed(context)
    assert context.analyser is not None
    steps = list(attribution.measure(context, key, "nv", FINE))
    assert [("dd-progress" in s) for s in steps] == [True, True, False] and 'value="0.5000"' in steps[1]
    asked = replace(analysis, attributions=context.analyser.attribute(analysis, target="nv", layer=FINE))
    for arm in analysis.arms:
        found = context.analyser.faithfulness(asked, arm)
        for area in (found.deletion, found.insertion, found.random_deletion, found.random_insertion):
            assert f"{area:.3f}" in steps[-1]
        assert page.verdict(found) in steps[-1]
    assert steps[-1].count("<svg") == 4 and steps[-1].count(full_name("nv")) >= 2


@pytest.mark.parametrize(("changes", "said"), [
    ({}, words.BETTER), ({"insertion": 0.505}, words.MIXED.format(good=words.GOOD_DELETION)),
    ({"insertion": 0.4}, words.MIXED.format(good=words.GOOD_DELETION)),
    ({"deletion": 0.5}, words.MIXED.format(good=words.GOOD_INSERTION)),
    ({"deletion": 0.5, "insertion": 0.4}, words.WORSE), ({"deletion": 0.395, "insertion": 0.505}, words.WORSE),
])
def test_the_sentence_follows_the_areas(changes: dict[str, float], said: str) -> None:
    assert said in page.verdict(measured(**changes))


def test_randomised_weights_are_shown_step_by_step(context: Context) -> None:
    key, analysis = analysed(context)
    assert context.analyser is not None
    shown = list(attribution.randomise(context, key, OWN, LAYER))[-1]
    for arm in analysis.arms:
        for step in context.analyser.sanity(analysis, arm):
            assert charts.signed(step.correlation) in shown and words.PARTS[step.part] in shown
    assert words.SANITY_COARSE.format(cells=4) in shown, "four values cannot decide"


@pytest.mark.parametrize(("last", "said"), [(0.1, words.SANITY_GONE), (-0.9, words.SANITY_LEFT)])
def test_what_is_left_of_a_map_is_judged_against_chance(context: Context, last: float, said: str) -> None:
    _, analysis = analysed(context)
    fine = attribution.with_maps(context.analyser, analysis, OWN, FINE)  # type: ignore[arg-type]
    shown = page.sanity(fine, {"vae": (SanityStep("head", 1.0), SanityStep("stem", last))})
    assert said.format(value=charts.signed(last), band=f"{page.chance((4, 4)):.2f}") in shown


def test_chance_is_wider_on_coarser_grids() -> None:
    assert page.chance((2, 2)) == 1 > page.chance((4, 4)) > page.chance((7, 7)) > page.chance((14, 14)) > 0


def test_charts_share_an_axis_that_holds_every_value() -> None:
    assert charts.top_of([0.03, 0.01]) == 0.05 and charts.top_of([0.51]) == 1 and charts.top_of([]) == 1
    shown = charts.curve_chart(charts.Curves(x=(0, 1), y=(0, 9), control=(0, 0), title="<b>", x_label="x", alt='"'),
                               top=1.0)
    assert "<b>" not in shown and 'aria-label="&quot;"' in shown
    assert f"{charts.WIDTH - charts.RIGHT:.1f},{charts.TOP:.1f}" in shown, "what lies outside ends at the edge"
    assert charts.signed(-0.001) == "0.00" and charts.signed(-0.5) == "−0.50"


def test_another_image_keeps_the_class_and_waits_to_be_seen(context: Context) -> None:
    key, _ = analysed(context)
    shown, target, faith, sane, *cleared = attribution.begin(context, key, "bcc", LAYER)
    assert "data-waiting" in shown and "dd-cam" not in shown and target.value == "bcc"
    assert faith.visible and sane.visible and cleared == ["", ""]
    shown, target, *_ = attribution.begin(context, key, "a class of other models", LAYER)
    assert "dd-cam" in shown and target.value == OWN


def test_before_the_first_image_and_after_the_last_hour_it_is_said(context: Context, tmp_path: Path) -> None:
    for key, said in (("", text.SUBJECT_NONE), ("gone", text.SUBJECT_GONE)):
        shown, _, faith, *_ = attribution.begin(context, key, "mel", FINE)
        assert said in shown and not faith.visible
        assert list(attribution.measure(context, key, OWN, LAYER)) == list(
            attribution.randomise(context, key, OWN, LAYER)) != []
    bare = make_context(None, tmp_path)
    assert text.NO_MODELS_TEXT in attribution.begin(bare, "", OWN, LAYER)[0]
    assert len(attribution.choices(bare)) == 8


def test_models_that_were_replaced_give_a_sentence(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def replaced(*_: object, **__: object) -> None:
        raise CheckpointError("The models have been replaced.")

    key, _ = analysed(context)
    for name in ("attribute", "faithfulness", "sanity"):
        monkeypatch.setattr(Analyser, name, replaced)
    assert "dd-cam" in attribution.show(context, key, OWN, LAYER), "the maps of the result are still shown"
    assert "have been replaced" in attribution.show(context, key, "mel", LAYER)
    for run in (attribution.measure, attribution.randomise):
        assert "have been replaced" in list(run(context, key, OWN, LAYER))[-1]
        assert "have been replaced" in list(run(context, key, "mel", FINE))[-1]


def test_a_failing_model_gives_a_sentence_and_a_log_entry(context: Context, monkeypatch: pytest.MonkeyPatch,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    key, _ = analysed(context, name="<script>alert(1)</script>")
    monkeypatch.setattr(Analyser, "faithfulness", broken)
    monkeypatch.setattr(Analyser, "attribute", broken)
    answers = list(attribution.measure(context, key, OWN, LAYER))[-1], attribution.show(context, key, "mel", LAYER)
    for shown in answers:
        assert text.FAILED_INTERNAL in shown and "secret detail" not in shown and "<script>" not in shown
    assert "secret detail" in caplog.text
