"""The models that are served, replaced while they serve: loaded first, moved together or not at all, followed."""

from __future__ import annotations

import gc
import io
import json
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dermdemo.analysis.analyser import Analyser
from dermdemo.data.synthetic import synthetic_lesion
from dermdemo.errors import CheckpointError, JobError
from dermdemo.jobs import registry as registry_module
from dermdemo.jobs.registry import Registry
from dermdemo.ui import live as module
from dermdemo.ui import text
from dermdemo.ui.context import Context
from dermdemo.ui.known_map import KnownMap
from dermdemo.ui.live import NOTHING, LiveModels, hashes
from dermdemo.ui.results import Results
from dermdemo.ui.tabs import analyse, attribution, evidence, latent, reconstruct
from dermdemo.ui.uploads import Uploads
from dermdemo.ui.wording import latent as latent_words
from dermdemo.ui.wording import live as words

REPLACED = "The models have been replaced since this image was analysed"


@pytest.fixture
def live(versions: Registry, make_set: Callable[[int], Path]) -> LiveModels:
    """Version 0 is served; 1 and 2 are candidates."""
    for seed in (50, 60):
        versions.add(make_set(seed), who="ada")
    models = LiveModels(versions, device="cpu")
    models.check()
    return models


@pytest.fixture
def context(live: LiveModels, tmp_path: Path) -> Context:
    (tmp_path / "uploads").mkdir()
    return Context(models=live, uploads=Uploads(tmp_path / "uploads"), results=Results(), key=None,  # type: ignore[arg-type]
                   tabs=None, known=KnownMap(lambda: live.now().analyser))  # type: ignore[arg-type]


def flip(path: Path) -> bytes:
    """Change the last byte; returns what was there."""
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return data


def served(live: LiveModels) -> int:
    """Number of what is served, by the models' own hashes too."""
    now = live.now()
    assert now.analyser is not None
    version = live.registry.version(now.status.number)
    assert hashes(now.analyser) == dict(version.models) and now.status.sha256 == version.sha256
    return now.status.number


def test_a_switch_moves_the_registry_and_what_is_served(live: LiveModels) -> None:
    assert served(live) == 0
    version = live.switch(1, "promote", "ada")
    assert served(live) == live.registry.switch().live == version.number == 1
    live.switch(0, "rollback", "ben")
    assert served(live) == live.registry.switch().live == 0
    assert [(e.action, e.who) for e in live.registry.log.read()][-2:] == [("promote", "ada"), ("rollback", "ben")]


def test_nothing_is_loaded_twice_for_the_same_version(live: LiveModels, monkeypatch: pytest.MonkeyPatch) -> None:
    live.switch(1, "promote", "ada")
    monkeypatch.setattr(module, "Analyser", None)
    live.check()
    live.switch(1, "promote", "ada")
    assert served(live) == 1


@pytest.mark.parametrize("name", ["vae/trunk.safetensors", "vae-arm/meta.json", "atlas/meta.json"])
def test_what_is_refused_moves_nothing(live: LiveModels, name: str) -> None:
    live.switch(1, "promote", "ada")
    entries = live.registry.log.read()
    flip(live.registry.root(2) / name)
    with pytest.raises(CheckpointError, match="not as it was registered"):
        live.switch(2, "promote", "ada")
    assert served(live) == live.registry.switch().live == 1 and live.status().problem is None
    assert live.registry.log.read() == entries


def test_models_that_do_not_load_move_nothing(live: LiveModels, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Analyser:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    monkeypatch.setattr(module, "Analyser", broken)
    with pytest.raises(CheckpointError, match=r"could not be loaded \(CUDA out of memory. Tried to allocate 2 GiB\)"):
        live.switch(1, "promote", "ada")
    assert served(live) == live.registry.switch().live == 0


def test_files_that_change_while_they_load_are_refused(live: LiveModels, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(root: Path, **options: Any) -> Analyser:
        analyser = Analyser(root, **options)
        (root / "vae-arm" / "meta.json").touch()
        return analyser

    monkeypatch.setattr(module, "Analyser", slow)
    with pytest.raises(CheckpointError, match="changed while it was loaded"):
        live.switch(1, "promote", "ada")
    assert served(live) == live.registry.switch().live == 0


def test_a_registry_that_cannot_move_keeps_the_old_ones(live: LiveModels, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    live.switch(1, "promote", "ada")
    with monkeypatch.context() as patch:
        patch.setattr(registry_module, "write_atomic", full)
        with pytest.raises(JobError, match="nothing changed"):
            live.switch(2, "promote", "ada")
    assert served(live) == live.registry.switch().live == 1
    live.registry.archive(2, who="ada")
    with pytest.raises(JobError, match="archived"):
        live.switch(2, "promote", "ada")
    with pytest.raises(JobError, match="never been live"):
        live.switch(2, "rollback", "ada")
    assert served(live) == live.registry.switch().live == 1


def test_a_change_made_elsewhere_is_followed(live: LiveModels, monkeypatch: pytest.MonkeyPatch) -> None:
    live.registry.promote(2, who="ada")
    assert served(live) == 0
    live.check()
    assert served(live) == 2
    monkeypatch.setattr(Registry, "verify", None)  # nothing has changed: nothing is hashed
    live.check()


def test_the_thread_follows_by_itself(live: LiveModels) -> None:
    live.follow(every=0.05)
    live.registry.promote(1, who="ada")
    end = time.monotonic() + 60
    while live.status().number != 1 and time.monotonic() < end:
        time.sleep(0.05)
    live.close()
    assert served(live) == 1


@pytest.mark.parametrize("repair", ["restored", "rolled back"])
def test_a_live_version_that_is_refused_leaves_the_previous_one(live: LiveModels, repair: str) -> None:
    live.switch(1, "promote", "ada")
    live.registry.promote(2, who="ada")
    path = live.registry.root(2) / "vae" / "decoder.safetensors"
    before = flip(path)
    live.check()
    problem = live.status().problem
    assert served(live) == 1 and problem and "Version 2 is not as it was registered" in problem
    assert words.GOES_ON.format(number=1) in problem
    for _ in range(2):
        live.check()
    assert live.status().problem == problem
    if repair == "restored":
        path.write_bytes(before)
    else:
        live.registry.rollback(0, who="ben")
    live.check()
    assert served(live) == (2 if repair == "restored" else 0) and live.status().problem is None


def test_live_files_touched_while_they_serve_are_told(live: LiveModels) -> None:
    """What is in memory was verified; on disk it would be refused at the next start."""
    live.switch(1, "promote", "ada")
    before = flip(live.registry.root(1) / "vae" / "decoder.safetensors")
    live.check()
    assert live.status().number == 1 and "Version 1 is not as it was registered" in str(live.status().problem)
    (live.registry.root(1) / "vae" / "decoder.safetensors").write_bytes(before)
    live.check()
    assert served(live) == 1 and live.status().problem is None


def test_at_the_start_a_refused_version_gives_way_to_the_one_before(live: LiveModels) -> None:
    live.switch(1, "promote", "ada")
    live.switch(2, "promote", "ada")
    flip(live.registry.root(2) / "vae" / "decoder.safetensors")
    again = LiveModels(live.registry, device="cpu")
    again.check()
    assert served(again) == live.registry.serving().number == 1 and "Version 2" in str(again.status().problem)
    again.switch(1, "rollback", "ada")
    assert again.status().problem is None


def test_a_damaged_switch_or_log_is_told_and_mended(live: LiveModels) -> None:
    live.switch(1, "promote", "ada")
    state = live.registry.state_file.read_bytes()
    live.registry.state_file.write_text("{")
    live.check()
    assert served(live) == 1 and "cannot be read" in str(live.status().problem)
    live.registry.state_file.write_bytes(state)
    live.check()
    assert live.status().problem is None
    log = flip(live.registry.log.path)
    live.registry.state_file.touch()
    live.check()
    assert live.status().number == 1 and "audit log" in str(live.status().problem)
    live.registry.log.path.write_bytes(log)
    live.check()
    assert served(live) == 1 and live.status().problem is None


def test_without_shipped_models_a_promotion_brings_the_app_up(live: LiveModels, context: Context) -> None:
    hidden = live.registry.shipped.rename(live.registry.shipped.with_name("hidden"))
    bare = LiveModels(live.registry, device="cpu")
    bare.check()
    assert bare.now().analyser is None and bare.status().number == NOTHING and bare.status().problem
    empty = Context(models=bare, uploads=context.uploads, results=context.results, key=context.key, tabs=context.tabs)
    assert text.NO_MODELS_TITLE in analyse.start(empty)
    bare.switch(1, "promote", "ada")
    assert served(bare) == 1 and text.NO_MODELS_TITLE not in analyse.start(empty) and bare.status().problem is None
    hidden.rename(live.registry.shipped)
    bare.switch(0, "rollback", "ada")
    assert served(bare) == 0


def test_shipped_models_put_in_place_are_served_without_a_restart(live: LiveModels) -> None:
    hidden = live.registry.shipped.rename(live.registry.shipped.with_name("hidden"))
    bare = LiveModels(live.registry, device="cpu")
    bare.check()
    assert bare.now().analyser is None
    hidden.rename(live.registry.shipped)
    bare.check()
    assert served(bare) == 0 and bare.status().problem is None


def test_two_switches_at_once_come_one_after_the_other(live: LiveModels, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[BaseException] = []

    def switch(number: int) -> None:
        try:
            live.switch(number, "promote", f"admin {number}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=switch, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert served(live) == live.registry.switch().live
    switches = [e.details["version"] for e in live.registry.log.read() if e.action == "promote"]
    assert sorted(switches) == ["1", "2"] and switches[-1] == str(live.status().number)
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    with live._lock, pytest.raises(JobError, match="under way"):
        live.switch(1, "promote", "ada")


def test_a_set_that_is_replaced_leaves_the_memory(live: LiveModels, context: Context) -> None:
    live.after.append(context.known.current)
    context.known.current()
    old = weakref.ref(live.now().analyser._served.vae.module)  # type: ignore[union-attr]
    live.switch(1, "promote", "ada")
    gc.collect()
    assert old() is None


def test_an_open_result_of_replaced_models_is_shown_and_says_what_it_needs(live: LiveModels, context: Context
                                                                           ) -> None:
    """What the result holds is drawn; what needs its models again says so in one sentence, wherever it is asked."""
    shown = context.models.now().analyser
    assert shown is not None
    analysis = shown.analyse(synthetic_lesion("mel", 3), name="a lesion")
    key, old_map = context.results.put(analysis), context.known.current()
    assert old_map is not None
    live.switch(1, "promote", "ada")
    del shown
    assert "dd-compare" in reconstruct.show(context, key)
    assert "dd-cam" in attribution.show(context, key, attribution.OWN, attribution.LAYER)
    assert REPLACED in reconstruct.show_samples(context, key, 0)
    assert REPLACED in reconstruct.show_walk(context, key, None)
    assert REPLACED in reconstruct.show_walk(context, key, 4711), "even a dimension that the new ones have not"
    target = next(c for c in analysis.arms["vae"].probabilities if c != analysis.arms["vae"].top)
    assert REPLACED in attribution.show(context, key, target, attribution.LAYER)
    for run in (attribution.measure, attribution.randomise):
        for wanted in (attribution.OWN, target):
            assert REPLACED in list(run(context, key, wanted, attribution.LAYER))[-1]
    subject, told, near, _ = latent.follow(context, key)
    assert "a lesion" in subject and "near" not in json.loads(told) and latent_words.NEAR_STALE in near
    assert latent_words.STALE in latent.choose(context.known, latent.Picked(), {"key": old_map.key, "row": 0}).panel
    assert context.known.picture(old_map.key, 0) is None, "never a picture of the new models under the old key"
    again = analyse.show(context, _png(), "a lesion")
    assert "replaced" not in reconstruct.show_walk(context, again.key, None)


def _png() -> bytes:
    buffer = io.BytesIO()
    synthetic_lesion("mel", 3).save(buffer, format="PNG")
    return buffer.getvalue()


def test_the_models_tab_shows_what_is_served(live: LiveModels, context: Context) -> None:
    pages = evidence.Pages(context.models)
    first = pages.current()
    assert live.status().sha256[:12] in first.shown and "Version 0 is served" in first.shown
    live.switch(2, "promote", "ada")
    second = pages.current()
    version = live.registry.version(2)
    assert second.key != first.key and "Version 2 is served" in second.shown and version.sha256[:12] in second.shown
    assert version.models["vae"][:12] in second.shown and version.models["vae"][:12] not in first.shown


def test_a_picture_is_never_of_another_set(live: LiveModels, context: Context) -> None:
    """The switch falls between the look at the map and the decoder."""
    known = context.known
    first = known.current()
    assert first is not None
    old = live.now().analyser
    live.switch(1, "promote", "ada")
    looks = iter([old, old, live.now().analyser])
    torn = KnownMap(lambda: next(looks))
    assert torn.current().key == first.key  # type: ignore[union-attr]
    with pytest.raises(CheckpointError, match="replaced"):
        torn._draw(first.key, 0)


def test_a_version_that_is_gone_is_no_crash(live: LiveModels) -> None:
    live.switch(1, "promote", "ada")
    shutil.rmtree(live.registry.root(1).parent)
    live.check()
    assert live.status().number == 1 and "no version 1" in str(live.status().problem)
