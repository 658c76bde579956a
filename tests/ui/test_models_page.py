"""The Models tab's content: what it says of models, figures and the study; what is absent is not shown."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from dermdemo.evaluation.seeds.summary import FACTS_FILE, summarise
from dermdemo.models.checkpoint import load_meta, rewrite_meta
from dermdemo.models.stored_figures import BaselineFigures, Figure
from dermdemo.ui import text
from dermdemo.ui.evidence.accuracy import verdicts
from dermdemo.ui.evidence.gather import Evidence, card_text, gather, tones
from dermdemo.ui.evidence.paired import verdict
from dermdemo.ui.evidence.parts import in_sentence
from dermdemo.ui.evidence.study import outcome
from dermdemo.ui.live import FixedModels, LiveStatus
from dermdemo.ui.models_page import nothing, render
from dermdemo.ui.tabs import evidence as tab
from dermdemo.ui.wording import models as words
from tests.evaluation.study_store import Study
from tests.sets import Maker
from tests.ui.evidence_samples import Checked, evidence_of, make_store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_store(tmp_path_factory.mktemp("models-page"))


@pytest.fixture(scope="module")
def evidence(made: Study) -> Evidence:
    return evidence_of(made.store)


@pytest.fixture
def store(made: Study, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made.store, tmp_path / "store"))


def test_the_page_is_whole(evidence: Evidence) -> None:
    page = Checked(render(evidence))
    assert set(re.findall(r'href="#(dd-models-\w+)"', render(evidence))) == {f"dd-models-{k}" for k in words.SECTIONS}
    assert {f"dd-models-{k}" for k in words.SECTIONS} <= set(page.ids)
    assert page.tags.count("svg") == 2 + 6
    assert evidence.problems == ()


def test_every_model_is_named_with_its_files_and_hashes(evidence: Evidence) -> None:
    page = render(evidence)
    for meta in evidence.models:
        assert f'title="{meta.sha256}">{meta.sha256[:12]}<' in page
        assert all(f'title="{sha256}"' in page for sha256 in meta.files.values())
        assert meta.origin_text in page
    assert "finished 2026-11-24: 12 epochs (32x12, px × epochs), 0.50 h on CPU" in page
    assert "1,200 images, 900 groups" in page


def test_figures_of_both_arms_stand_beside_the_pixels(evidence: Evidence) -> None:
    page = Checked(render(evidence)).text
    for test in evidence.tests.values():
        figure = test.figures["balanced_accuracy"]
        assert f"{figure.estimate:.3f} {figure.low:.3f} to {figure.high:.3f}" in page
    assert "PCA-64 of 32 px pixels" in page
    assert "120 test images of 60 lesions" in page and words.READ_ONCE in page
    assert "a constant answer: 0.333" in page


def test_losing_to_the_pixels_is_said(evidence: Evidence) -> None:
    said = verdicts(evidence)
    assert len(said) == 4
    assert said[0].startswith("The VAE arm loses to the pixel baseline in balanced accuracy")
    assert said[2].startswith("The natural-image arm beats the pixel baseline in balanced accuracy")
    assert all("n = 120" in sentence for sentence in said)


@pytest.mark.parametrize(("figure", "said"), [
    (Figure(estimate=0.7, low=0.6, high=0.8), "beats"), (Figure(estimate=0.7, low=0.4, high=0.8), "above"),
    (Figure(estimate=0.4, low=0.3, high=0.6), "below"), (Figure(estimate=0.4, low=0.3, high=0.45), "loses"),
    (Figure(estimate=0.5), "loses"), (Figure(estimate=0.51), "beats"),
])  # fmt: skip
def test_verdicts_follow_the_interval(evidence: Evidence, figure: Figure, said: str) -> None:
    test = dataclasses.replace(evidence.tests["vae"], figures={"balanced_accuracy": figure})
    changed = dataclasses.replace(evidence, tests={"vae": test}, baseline=BaselineFigures(
        description="pixels", figures={"balanced_accuracy": 0.5}))
    assert said in verdicts(changed)[0]


def test_classes_confusions_and_missed_lesions_are_counted(evidence: Evidence) -> None:
    page = Checked(render(evidence)).text
    melanoma = next(c for c in evidence.tests["vae"].per_class if c.name == "mel")
    assert f"n = {melanoma.n_images} of {melanoma.n_lesions} lesions" in page
    row = evidence.tests["imagenet"].confusion[0]
    said = f"{row[0]} of {sum(row)} images labelled Basal cell carcinoma were named Basal cell carcinoma"
    assert said in render(evidence)
    point = evidence.tests["vae"].operating_points[1]
    assert point.sensitivity.estimate is not None
    assert f"{80 - round(80 * point.sensitivity.estimate)} of 80 missed" in page


def test_the_study_stands_beside_the_paper_with_its_warnings(evidence: Evidence) -> None:
    page = Checked(render(evidence)).text
    for expected in ("−33.33 %", "0.165 → 0.110", "rising to +0.060", "near zero", "arXiv 2505.16773",
                     *words.STUDY_WARNINGS, "Overfitting", "McNemar", "Sensitivity, Melanoma",
                     "natural-image arm right"):  # fmt: skip
        assert expected in page
    assert words.STUDY_STALE not in page


def test_no_gap_without_the_score_beside_it(evidence: Evidence) -> None:
    assert evidence.study is not None
    said = outcome(evidence.study)
    assert "VAE arm has the smaller accuracy gap" in said and "balanced accuracy: 0.400 against 0.400" in said
    small, large = evidence.study.table.arms
    assert f"{small.last.accuracy_gap:+.3f}" in said and f"{large.last.accuracy_gap:+.3f}" in said


def test_the_study_over_seeds_says_what_its_intervals_say(evidence: Evidence) -> None:
    assert evidence.seeds is not None
    table, facts = evidence.seeds
    page = Checked(render(evidence)).text
    assert words.SEEDS_TITLE.format(n=2) in page and words.SEEDS_OTHERS in page
    for arm in ("vae", "imagenet", "vae - imagenet", "vae - random"):
        row = table.find(arm, "test", "macro_auc")
        sign = "+" if " - " in arm else ""
        assert row is not None and (
            f"{row.value:{sign}.3f} {row.low:{sign}.3f} to {row.high:{sign}.3f}".replace("-", "−") in page)
    for title, sentences in summarise(table, facts).said.items():
        assert title in page and sentences
        assert all(sentence.replace("`", "") in page for sentence in sentences)
    for start in (evidence.vae.sha256, "0" * 64):
        other = dataclasses.replace(evidence, seeds=(table, dataclasses.replace(facts, starts={"vae": start})))
        assert words.SEEDS_VAE[start == evidence.vae.sha256] in render(other)
    assert 'id="dd-models-seeds"' not in render(dataclasses.replace(evidence, seeds=None))
    first = dataclasses.replace(facts, models=tuple(m for m in facts.models if m.seed == 0))
    one = render(dataclasses.replace(evidence, seeds=(table, first)))
    assert words.SEEDS_TITLE_ONE in one and "intervals over lesions only, as there is one seed" in one


def test_a_study_of_other_models_is_said(store: Path) -> None:
    path = store / "study" / "study.json"
    data = json.loads(path.read_text())
    data["models"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(data))
    assert words.STUDY_STALE in Checked(render(evidence_of(store))).text


def test_without_a_study_the_page_says_how_to_make_one(store: Path) -> None:
    shutil.rmtree(store / "study")
    page = Checked(render(evidence_of(store)))
    assert words.STUDY_NONE.replace("`", "") in page.text
    assert "dd-models-curves" not in page.ids and 'href="#dd-models-curves"' not in render(evidence_of(store))


def test_a_study_without_predictions_says_so(evidence: Evidence) -> None:
    assert evidence.study is not None
    bare = dataclasses.replace(evidence.study, table=dataclasses.replace(evidence.study.table, paired=None))
    assert words.PAIRED_NONE in Checked(render(dataclasses.replace(evidence, study=bare))).text


def test_checkpoints_saved_before_show_what_they_have(store: Path) -> None:
    for name in ("vae-arm", "imagenet-arm"):
        meta = load_meta(store / name)
        test = {k: meta.metrics["test"][k] for k in ("n_images", "n_lesions", "readings", "figures")}
        rewrite_meta(store / name, dataclasses.replace(meta, metrics={"test": test}, spent={}, data={}))
    page = Checked(render(evidence_of(store)))
    assert "dd-models-figures" in page.ids
    assert not {"dd-models-classes", "dd-models-confusions", "dd-models-malignancy"} & set(page.ids)


def test_models_without_test_figures_say_how_to_get_them(store: Path) -> None:
    for name in ("vae-arm", "imagenet-arm"):
        rewrite_meta(store / name, dataclasses.replace(load_meta(store / name), metrics={}))
    assert words.METRICS_NONE in Checked(render(evidence_of(store))).text


def test_what_cannot_be_read_is_said_and_the_rest_is_shown(store: Path) -> None:
    meta = load_meta(store / "vae-arm")
    rewrite_meta(store / "vae-arm", dataclasses.replace(meta, metrics={"test": {"figures": "none"}}))
    (store / "study" / "study.json").write_text("{")
    (store / "study" / FACTS_FILE).write_bytes(b"\xff")
    page = Checked(render(evidence_of(store))).text
    assert words.PROBLEMS_TITLE in page and "not valid JSON" in page and "evaluate it again" in page
    assert "holds no results of a study that can be read" in page
    assert "The natural-image arm beats" in page


def test_what_the_vae_keeps_stands_beside_pca_and_losing_is_said(evidence: Evidence) -> None:
    page = Checked(render(evidence)).text
    assert "1,234 images of 987 lesions of the test split" in page
    assert "worse than PCA of the pixels with as many numbers, by PSNR." in page  # SSIM is the better one
    assert "27.300" in page and "32.800" in page and "-5.500" in page
    assert "Melanoma100 lesions0.910.99" in page and "5 of 6 latent dimensions" in page and "21 nats" in page
    made = evidence.reconstruction
    assert made is not None
    won = dataclasses.replace(made, difference={k: Figure(estimate=0.5) for k in ("psnr", "ssim")})
    assert words.KEPT_WINS in Checked(render(dataclasses.replace(evidence, reconstruction=won))).text


def test_a_vae_that_was_not_evaluated_or_whose_figures_are_broken(store: Path) -> None:
    meta = load_meta(store / "vae")
    rewrite_meta(store / "vae", dataclasses.replace(meta, metrics={}))
    assert words.KEPT_TITLE not in render(evidence_of(store))
    rewrite_meta(store / "vae", dataclasses.replace(meta, metrics={"reconstruction": {"split": "test"}}))
    page = Checked(render(evidence_of(store))).text
    assert words.KEPT_TITLE not in page and "reconstruction figures" in page and "evaluate it again" in page


def test_texts_of_any_origin_are_escaped(evidence: Evidence) -> None:
    evil: dict[str, Any] = {"origin_text": "<script>alert(1)</script>", "licence": '"><img src=x>', "name": "<b>"}
    changed = dataclasses.replace(evidence, vae=dataclasses.replace(evidence.vae, **evil))
    page = render(changed)
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page
    Checked(page)
    assert "<i>" not in nothing("<i>why")


def test_a_checkpoint_that_only_lends_its_trunk_is_listed(tmp_path: Path, make: Maker) -> None:
    served, lender = make.vae(tmp_path / "vae"), make.vae(tmp_path / "stand-in", seed=5)
    arm = make.arm(tmp_path / "imagenet-arm", "imagenet", base=tmp_path / "stand-in")
    found = gather(tmp_path, served, {"imagenet": arm})
    assert [m.name for m in found.models] == ["vae", "imagenet-arm", "stand-in"]
    page = render(found)
    assert lender.sha256[:12] in page and "<td>stand-in</td>" in page
    assert words.KIND_BASE in page
    shutil.rmtree(tmp_path / "stand-in")
    assert "stands on the trunk" in gather(tmp_path, served, {"imagenet": arm}).problems[0]


def test_cards_are_read_as_they_are(made: Study, tmp_path: Path) -> None:
    assert card_text(made.store / "vae-arm").startswith("# vae-arm")
    assert card_text(tmp_path) == ""


def test_the_vae_arm_keeps_its_colour_whatever_the_order() -> None:
    assert tones(("imagenet", "vae")) == tones(("vae", "imagenet")) == {"vae": "a", "imagenet": "b"}


def test_lower_is_better_where_it_is(evidence: Evidence) -> None:
    assert evidence.study is not None and evidence.study.table.paired is not None
    found = evidence.study.table.paired.differences
    assert verdict("accuracy", found["accuracy"], "A", "B") == "B better"
    assert verdict("nll", found["nll"], "A", "B") == "B better"
    open_ = dataclasses.replace(found["nll"], low=-0.1, high=0.1)
    assert verdict("nll", open_, "A", "B") == words.PAIRED_OPEN


def test_names_inside_a_sentence() -> None:
    names = ("VAE arm", "Natural-image arm", "ECE")
    assert [in_sentence(name) for name in names] == ["VAE arm", "natural-image arm", "ECE"]


def test_the_tab_draws_the_page_and_a_closed_card_per_model(
    evidence: Evidence, made: Study
) -> None:
    analyser = SimpleNamespace(root=made.store, vae=evidence.vae, arms=evidence.arms)
    pages = tab.Pages(FixedModels(analyser))  # type: ignore[arg-type]
    key, shown, title, *slots = tab.fill(pages.current())
    assert shown == render(evidence) and title.visible
    assert [s.label for s in slots[:6:2]] == ["vae", "vae-arm", "imagenet-arm"]
    assert all(s.visible for s in slots[:6:2])
    assert all(card.startswith("# ") for card in slots[1:6:2])
    assert len(slots) == 2 * tab.SLOTS and not any(s.visible for s in slots[6::2])
    assert tab.fill(pages.current(), key) == [gr.skip()] * (3 + 2 * tab.SLOTS), "it is shown already"


def test_the_tab_without_models_says_why() -> None:
    _, shown, title, *slots = tab.fill(tab.Pages(FixedModels(None, "No store <here>.")).current())
    assert shown == nothing("No store <here>.") and "&lt;here&gt;" in shown and not title.visible
    assert not any(s.visible for s in slots[::2])


def test_the_version_being_served_is_named(evidence: Evidence) -> None:
    assert "dd-models-version" not in render(evidence) and words.STUDY_OTHER not in render(evidence)
    shown = render(dataclasses.replace(evidence, study=None, retrained=True), LiveStatus(number=3, sha256="ab" * 32))
    assert words.SERVED_TITLE.format(number=3) in shown and f">{('ab' * 32)[:12]}<" in shown
    assert words.STUDY_OTHER in shown and words.SERVED_NOT not in shown
    shown = render(evidence, LiveStatus(number=0, sha256="cd" * 32, problem="'/srv/home' is damaged"))
    assert words.SERVED_SHIPPED in shown and words.SERVED_NOT in shown and "/srv" not in shown


def test_a_page_that_cannot_be_drawn_says_so(caplog: pytest.LogCaptureFixture, evidence: Evidence) -> None:
    broken = SimpleNamespace(root=None, vae=evidence.vae, arms=evidence.arms)
    assert text.FAILED_INTERNAL in tab.Pages(FixedModels(broken)).current().shown  # type: ignore[arg-type]
    assert "Traceback" in caplog.text
