"""The analyser: what it says agrees with the models asked directly, whatever way it is asked."""

from __future__ import annotations

import dataclasses
import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.serving import TrunkKey
from dermdemo.data.images import to_input
from dermdemo.errors import CheckpointError, ConfigError, ImageError, NotFittedError
from dermdemo.models.checkpoint import load_classifier, load_meta, load_vae, rewrite_meta
from dermdemo.models.encoder import Encoder
from dermdemo.types import Analysis, DecodedImage, Failure, InputSpec


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def same(a: Analysis, b: Analysis, *, atol: float = 1e-5) -> None:
    """Two analyses agree in everything that is computed."""
    for arm in a.arms:
        assert a.arms[arm].probabilities == pytest.approx(dict(b.arms[arm].probabilities), abs=atol)
        np.testing.assert_allclose(a.attributions[arm].heat, b.attributions[arm].heat, atol=100 * atol)
    np.testing.assert_allclose(a.mu, b.mu, atol=10 * atol)
    assert a.reconstruction.mse == pytest.approx(b.reconstruction.mse, abs=atol)
    assert [n.image_id for n in a.neighbours] == [n.image_id for n in b.neighbours]


def test_probabilities_are_those_of_the_models_asked_directly(
        analyser: Analyser, shared_store: Path, pictures: list[DecodedImage]) -> None:
    result = analyser.analyse(pictures[0])
    x = torch.from_numpy(to_input(pictures[0].pixels, InputSpec(size=64))).permute(2, 0, 1)[None].float() / 255
    for arm, prediction in result.arms.items():
        model, meta = load_classifier(shared_store / f"{arm}-arm")
        with torch.inference_mode():
            logits = model(x)[0].double()
        expected = dict(zip(meta.classes, (logits / 1.7).softmax(0).tolist(), strict=True))
        assert sum(prediction.probabilities.values()) == pytest.approx(1)
        assert sum(prediction.raw_probabilities.values()) == pytest.approx(1)
        assert prediction.probabilities == pytest.approx(expected, abs=1e-5)
        assert prediction.raw_probabilities != pytest.approx(expected, abs=1e-3)
        malignant = sum(expected[c] for c in ("akiec", "bcc", "mel"))
        assert prediction.malignant == pytest.approx(malignant, abs=1e-5)
        assert prediction.sha256 == meta.sha256
        assert prediction.top in prediction.prediction_set
    vae = load_vae(shared_store / "vae").module
    with torch.inference_mode():
        np.testing.assert_allclose(result.mu, vae.encode(x).mu[0].numpy(), atol=1e-4)


def test_an_analysis_is_plain_values(analyser: Analyser, pictures: list[DecodedImage]) -> None:
    result = analyser.analyse(pictures[0], name="a.png")
    assert (result.name, result.source_size, result.device) == ("a.png", (200, 150), "cpu")
    assert set(result.models) == {"vae", "vae-arm", "imagenet-arm", "atlas"}
    for pixels in (*result.inputs.values(), result.reconstruction.image, result.reconstruction.original):
        assert pixels.shape == (64, 64, 3) and pixels.dtype == np.uint8
    assert result.reconstruction.error.shape == (64, 64)
    assert result.mu.shape == result.logvar.shape == (8,)
    assert type(result.reconstruction.ssim) is float and type(result.novelty.score) is float  # type: ignore[union-attr]
    assert min(result.timing.decode, result.timing.forward, result.timing.attribution, result.timing.latent) > 0

    def tensors(value: object) -> bool:
        parts = vars(value).values() if hasattr(value, "__dataclass_fields__") else (
            value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ())
        return isinstance(value, torch.Tensor) or any(tensors(p) for p in parts)

    assert not tensors(result)


def test_different_images_get_different_answers(analyser: Analyser, pictures: list[DecodedImage]) -> None:
    results = [analyser.analyse(p) for p in pictures]
    for first, second in zip(results, results[1:], strict=False):
        assert first.arms["vae"].probabilities != second.arms["vae"].probabilities
        assert first.arms["imagenet"].probabilities != second.arms["imagenet"].probabilities
        assert first.position != second.position
        assert np.abs(first.mu - second.mu).max() > 0.05


def test_a_shared_trunk_runs_once_and_its_modules_are_one(
        analyser: Analyser, pictures: list[DecodedImage], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = Encoder.trunk
    monkeypatch.setattr(Encoder, "trunk", lambda self, *a: calls.append(id(self.stem)) or original(self, *a))
    analyser.analyse(pictures[0])
    served = analyser._served
    assert len(calls) == 2 and len(set(calls)) == 2  # the VAE's, and the imagenet arm's
    assert served.arms["vae"].module.encoder.stem is served.vae.module.encoder.stem
    assert served.arms["vae"].module.encoder.stages[3] is not served.vae.module.encoder.stages[3]


def test_a_shared_trunk_gives_what_separate_ones_give(
        shared_store: Path, pictures: list[DecodedImage], monkeypatch: pytest.MonkeyPatch) -> None:
    together = Analyser(shared_store, device="cpu").analyse(pictures[0])
    for module in ("serving", "forward"):  # every model its own trunk
        monkeypatch.setattr(f"dermdemo.analysis.{module}.trunk_key", lambda m: TrunkKey(m.name, m.input))
    apart = Analyser(shared_store, device="cpu")
    assert apart._served.arms["vae"].module.encoder.stem is not apart._served.vae.module.encoder.stem
    same(apart.analyse(pictures[0]), together)


def test_a_trunk_stored_twice_is_still_one(tmp_path: Path, make: Any) -> None:
    make.store(tmp_path)
    meta = make.arm(tmp_path / "vae-arm", "vae", base=tmp_path / "vae", borrow=False)
    assert not meta.base and meta.files["trunk"] == load_meta(tmp_path / "vae").files["trunk"]
    served = Analyser(tmp_path, device="cpu")._served
    assert served.arms["vae"].module.encoder.stem is served.vae.module.encoder.stem


def test_arms_may_want_other_inputs(tmp_path: Path, make: Any, pictures: list[DecodedImage]) -> None:
    make.vae(tmp_path / "vae")
    make.arm(tmp_path / "vae-arm", "vae", base=tmp_path / "vae", size=96)
    make.arm(tmp_path / "imagenet-arm", "imagenet", seed=2)
    result = Analyser(tmp_path, device="cpu").analyse(pictures[0], layer="stages[-2]")
    assert result.inputs["vae"].shape == (96, 96, 3) and result.inputs["imagenet"].shape == (64, 64, 3)
    assert result.attributions["vae"].heat.shape == (96, 96) and result.attributions["vae"].grid == (6, 6)
    assert result.reconstruction.image.shape == (64, 64, 3)


def test_every_way_in_gives_the_same(analyser: Analyser, pictures: list[DecodedImage], tmp_path: Path) -> None:
    data = png(pictures[1].pixels)
    path = tmp_path / "lesion.png"
    path.write_bytes(data)
    expected = analyser.analyse(pictures[1])
    same(analyser.analyse(pictures[1].pixels), expected)
    same(analyser.analyse_bytes(data, name="x"), expected)
    for result in analyser.analyse_many([("a", data), ("b", path)]):
        assert isinstance(result, Analysis)
        same(result, expected)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pil_images_of_any_mode(analyser: Analyser, pictures: list[DecodedImage], mode: str) -> None:
    result = analyser.analyse(pictures[0].pixels.convert(mode))
    assert sum(result.arms["vae"].probabilities.values()) == pytest.approx(1)


def test_a_transparent_image_lies_on_white(analyser: Analyser) -> None:
    result = analyser.analyse(Image.new("RGBA", (64, 64), (10, 20, 30, 0)))
    assert (result.inputs["vae"] == 255).all()


@pytest.mark.parametrize("size", [(8, 8), (1000, 20)])
def test_pil_images_of_impossible_size_are_refused(analyser: Analyser, size: tuple[int, int]) -> None:
    with pytest.raises(ImageError):
        analyser.analyse(Image.new("RGB", size))


def test_many_go_on_after_a_bad_file(analyser: Analyser, pictures: list[DecodedImage], tmp_path: Path) -> None:
    items: list[tuple[str, bytes | Path]] = [(f"{k}.png", png(p.pixels)) for k, p in enumerate(pictures)]
    items.insert(2, ("bad.jpg", b"not an image"))
    items.append(("gone.png", tmp_path / "gone.png"))
    items += items[:5]
    results = list(analyser.analyse_many(items))
    assert [r.name for r in results] == [name for name, _ in items]
    failures = [r for r in results if isinstance(r, Failure)]
    assert [(f.name, f.reason) for f in failures] == [
        ("bad.jpg", "unsupported-format"), ("gone.png", "missing"), ("bad.jpg", "unsupported-format")]
    assert "bad.jpg" in failures[0].message
    for result, (_, data) in zip(results, items, strict=True):
        if isinstance(result, Analysis):
            assert isinstance(data, bytes)
            same(result, analyser.analyse_bytes(data))


def test_many_are_lazy_and_none_is_none(analyser: Analyser, pictures: list[DecodedImage]) -> None:
    assert list(analyser.analyse_many([])) == []
    assert all(isinstance(r, Failure) for r in analyser.analyse_many([("a", b""), ("b", b"")]))

    def endless() -> Any:
        while True:
            yield "again", png(pictures[0].pixels)

    assert isinstance(next(analyser.analyse_many(endless())), Analysis)


def test_a_target_moves_the_map_and_an_unknown_one_is_refused(
        analyser: Analyser, pictures: list[DecodedImage]) -> None:
    own = analyser.analyse(pictures[0])
    assert {a.target for a in own.attributions.values()} == {p.top for p in own.arms.values()}
    other = analyser.analyse(pictures[0], target="mel")
    assert all(a.target == "mel" for a in other.attributions.values())
    assert not np.allclose(own.attributions["vae"].heat, other.attributions["vae"].heat)
    again = analyser.attribute(own, target="mel")
    np.testing.assert_allclose(again["vae"].heat, other.attributions["vae"].heat, atol=1e-4)
    for bad in ({"target": "wart"}, {"layer": "stages[0]"}):
        with pytest.raises(ConfigError, match="choose one of"):
            analyser.analyse(pictures[0], **bad)  # type: ignore[arg-type]
        with pytest.raises(ConfigError):
            analyser.analyse_many([], **bad)  # type: ignore[arg-type]


def test_threads_get_the_same_answers(analyser: Analyser, pictures: list[DecodedImage], one_thread: None) -> None:
    expected = [analyser.analyse(p, target="mel") for p in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: analyser.analyse(p, target="mel"), pictures * 4))
    for result, reference in zip(found, expected * 4, strict=True):
        same(result, reference)


def test_without_an_atlas_it_says_so(store: Path, pictures: list[DecodedImage]) -> None:
    shutil.rmtree(store / "atlas")
    analyser = Analyser(store, device="cpu")
    result = analyser.analyse(pictures[0])
    assert analyser.atlas is None
    assert (result.novelty, result.position, result.neighbours) == (None, None, ())
    assert "atlas" not in result.models
    assert "There is no atlas" in result.notes[0]


def test_uncalibrated_arms_say_so(store: Path, pictures: list[DecodedImage]) -> None:
    meta = load_meta(store / "imagenet-arm")
    rewrite_meta(store / "imagenet-arm", dataclasses.replace(meta, temperature=None, conformal={}))
    result = Analyser(store, device="cpu").analyse(pictures[0])
    prediction = result.arms["imagenet"]
    assert prediction.temperature == 1 and prediction.prediction_set == ()
    assert prediction.probabilities == prediction.raw_probabilities
    assert any("'imagenet' are not calibrated" in note for note in result.notes)


def test_reload_swaps_and_a_refusal_keeps_the_previous(
        store: Path, make: Any, with_atlas: Callable[..., Any], lesions: Any, pictures: list[DecodedImage]) -> None:
    analyser = Analyser(store, device="cpu")
    before = analyser.analyse(pictures[0])
    make.arm(store / "imagenet-arm", "imagenet", seed=40)
    running = analyser.analyse_many([("a", png(pictures[0].pixels))])
    analyser.reload()
    after = analyser.analyse(pictures[0])
    assert after.models["imagenet-arm"] != before.models["imagenet-arm"]
    assert after.models["vae-arm"] == before.models["vae-arm"]
    assert after.arms["imagenet"].probabilities != before.arms["imagenet"].probabilities
    assert next(running).models == before.models  # type: ignore[union-attr]  # finishes on what it began with
    with pytest.raises(CheckpointError, match="replaced since"):
        analyser.attribute(before)
    with (store / "vae" / "top.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(CheckpointError, match="has changed"):
        analyser.reload()
    same(analyser.analyse(pictures[0]), after)


def test_a_new_vae_with_the_old_atlas_is_refused(
        store: Path, make: Any, with_atlas: Callable[..., Any], lesions: Any, pictures: list[DecodedImage]) -> None:
    analyser = Analyser(store, device="cpu")
    before = analyser.analyse(pictures[0])
    make.store(store, seed=50, split_hash=lesions.split.hash)
    with pytest.raises(CheckpointError, match="another VAE"):
        analyser.reload()
    same(analyser.analyse(pictures[0]), before)
    with_atlas(store, lesions)
    analyser.reload()
    assert analyser.analyse(pictures[0]).models["vae"] != before.models["vae"]


def test_what_cannot_be_served_is_refused(store: Path, make: Any) -> None:
    with pytest.raises(CheckpointError, match="no classifier of the arm 'ae'"):
        Analyser(store, device="cpu", arms=("vae", "ae"))
    with pytest.raises(CheckpointError):
        Analyser(store / "nowhere", device="cpu")
    meta = load_meta(store / "imagenet-arm")
    rewrite_meta(store / "imagenet-arm", dataclasses.replace(meta, head_trained=False))
    with pytest.raises(NotFittedError):
        Analyser(store, device="cpu")


def test_on_demand_questions(analyser: Analyser, pictures: list[DecodedImage]) -> None:
    result = analyser.analyse(pictures[0])
    draws = analyser.posterior_samples(result, count=3, seed=1)
    assert draws.shape == (3, 64, 64, 3) and draws.dtype == np.uint8
    walk = analyser.traverse(result, 2, [-2.0, float(result.mu[2]), 2.0])
    np.testing.assert_allclose(walk[1].astype(int), result.reconstruction.image.astype(int), atol=1)
    assert analyser.classes == analyser.arms["vae"].classes
    assert analyser.layers == ("stages[-1]", "stages[-2]") and analyser.vae.latent == 8
    with pytest.raises(ConfigError, match="no arm"):
        analyser.faithfulness(result, "ae")


def test_serving_imports_no_more_than_it_needs(shared_store: Path) -> None:
    code = f"""
import sys
from pathlib import Path
import dermdemo.analysis, dermdemo.analysis.export
from dermdemo.analysis.analyser import Analyser
from PIL import Image
result = Analyser(Path({str(shared_store)!r}), device="cpu").analyse(Image.new("RGB", (80, 60), (180, 120, 100)))
assert result.position is not None
heavy = ("umap", "numba", "pynndescent", "gradio", "sklearn", "torchmetrics", "dermdemo.training",
         "dermdemo.data.loader", "lightning_fabric", "scipy.stats", "scipy.optimize")
print([m for m in heavy if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          cwd=Path(__file__).resolve().parents[2])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
