"""From prepared images to `Analysis` values: one forward pass per batch, then each image's own part."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dermdemo.analysis.attribution import CamMap, check_layer, grad_cam
from dermdemo.analysis.forward import Outputs, forward, trunk_features
from dermdemo.analysis.novelty import assess, input_detail
from dermdemo.analysis.predictions import agreement, predict_arm
from dermdemo.analysis.reconstruction import compare
from dermdemo.analysis.serving import Served
from dermdemo.data.images import MAX_ASPECT, MIN_SIDE, decode_file, decode_image, to_input
from dermdemo.errors import ConfigError, ImageError
from dermdemo.types import (
    Analysis,
    Attribution,
    DecodedImage,
    InputSpec,
    MapPosition,
    Neighbour,
    Novelty,
    Prediction,
    Reconstruction,
    Timing,
)


@dataclass(frozen=True)
class Prepared:
    """One image cut to every input the models want; `seconds` is what decoding and resizing took."""

    name: str
    source_size: tuple[int, int]
    inputs: Mapping[InputSpec, np.ndarray]
    seconds: float


@dataclass(frozen=True)
class Ask:
    """What attribution maps are wanted: the target class (None: each arm's own prediction) and the layer."""

    target: str | None
    layer: str

    @classmethod
    def checked(cls, served: Served, target: str | None, layer: str) -> Self:
        """Raises ConfigError where an arm does not know the class, or there is no such layer."""
        check_layer(layer)
        for arm, loaded in served.arms.items():
            if target is not None and target not in loaded.meta.classes:
                raise ConfigError(f"The arm '{arm}' knows no class '{target}': choose one of "
                                  f"{', '.join(loaded.meta.classes)}.")
        return cls(target, layer)


def prepare_bytes(served: Served, name: str, data: bytes) -> Prepared:
    """Raises ImageError."""
    started = perf_counter()
    return _cut(served, name, decode_image(data, name=name), started)


def prepare_path(served: Served, name: str, path: Path) -> Prepared:
    """Raises ImageError."""
    started = perf_counter()
    return _cut(served, name, decode_file(path, name=name), started)


def prepare_image(served: Served, name: str, image: DecodedImage | Image.Image) -> Prepared:
    """Raises ImageError for a PIL image of impossible size, mode or content."""
    started = perf_counter()
    decoded = image if isinstance(image, DecodedImage) else _from_pil(name, image)
    return _cut(served, name, decoded, started)


def _from_pil(name: str, image: Image.Image) -> DecodedImage:
    """Plain RGB as it is; anything else through the one decoder, which knows transparency, depth and limits."""
    short, long = sorted(image.size)
    try:
        image.load()
        if image.mode == "RGB" and short >= MIN_SIDE and long <= MAX_ASPECT * short:
            return DecodedImage(pixels=image, format="PIL", original_size=image.size)
        buffer = io.BytesIO()
        (image.convert("RGB") if image.mode in ("CMYK", "YCbCr", "LAB", "HSV") else image).save(buffer, "PNG")
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: the image is damaged or of a rare kind.", reason="corrupt") from error
    return decode_image(buffer.getvalue(), name=name)


def _cut(served: Served, name: str, image: DecodedImage, started: float) -> Prepared:
    inputs = {spec: to_input(image.pixels, spec) for spec in served.specs}
    return Prepared(name, image.original_size, inputs, perf_counter() - started)


def analyse_batch(served: Served, items: Sequence[Prepared], ask: Ask) -> list[Analysis]:
    """Analyse a batch of at least one image; times of shared work are divided evenly."""
    clock = [perf_counter()]
    out = forward(served, {spec: np.stack([item.inputs[spec] for item in items]) for spec in served.specs})
    predictions, reconstructions = _predict(served, out), compare(out.x, out.x_hat)
    mu, logvar = out.mu.cpu().numpy(), out.logvar.cpu().numpy()
    far = _feature_distances(served, out)
    clock.append(perf_counter())
    attributions = _attribute(served, out, predictions, ask)
    clock.append(perf_counter())
    forward_ms, attribution_ms = ((b - a) * 1000 / len(items) for a, b in zip(clock, clock[1:], strict=False))
    done = []
    for k, item in enumerate(items):
        started = perf_counter()
        position, neighbours, novelty = _locate(served, mu[k], reconstructions[k], far[k])
        timing = Timing(decode=item.seconds * 1000, forward=forward_ms, attribution=attribution_ms,
                        latent=(perf_counter() - started) * 1000)
        done.append(Analysis(
            name=item.name, source_size=item.source_size, arms=predictions[k], attributions=attributions[k],
            inputs={arm: item.inputs[loaded.meta.input] for arm, loaded in served.arms.items()},
            agreement=agreement(predictions[k]), reconstruction=reconstructions[k], mu=mu[k], logvar=logvar[k],
            novelty=novelty, position=position, neighbours=neighbours, models=served.models,
            device=str(served.device), timing=timing, notes=served.notes))
    return done


def _predict(served: Served, out: Outputs) -> list[dict[str, Prediction]]:
    """Predictions per image, by arm."""
    logits = {arm: values.cpu().numpy() for arm, values in out.logits.items()}
    return [{arm: predict_arm(arm, loaded.meta, logits[arm][k], served.sets[arm])
             for arm, loaded in served.arms.items()} for k in range(len(out.mu))]


def _attribute(served: Served, out: Outputs, predictions: Sequence[Mapping[str, Prediction]], ask: Ask
               ) -> list[dict[str, Attribution]]:
    """Attribution maps per image, by arm."""
    found: list[dict[str, Attribution]] = [{} for _ in predictions]
    for arm, loaded in served.arms.items():
        targets = [ask.target or p[arm].top for p in predictions]
        indices = [loaded.meta.classes.index(t) for t in targets]
        cams = grad_cam(loaded.module, out.maps[arm][ask.layer], indices, ask.layer, loaded.meta.input.size)
        for entry, target, cam in zip(found, targets, cams, strict=True):
            entry[arm] = _attribution(arm, target, ask.layer, cam)
    return found


def attribute(served: Served, inputs: Mapping[str, Tensor], targets: Mapping[str, str], layer: str
              ) -> dict[str, Attribution]:
    """Maps of one image by arm, from each arm's input (1, 3, S, S) and target class."""
    found = {}
    for arm, loaded in served.arms.items():
        with torch.inference_mode():
            fmap = loaded.module.encoder.trunk(inputs[arm], check_layer(layer))
        index = loaded.meta.classes.index(targets[arm])
        cam = grad_cam(loaded.module, fmap, [index], layer, loaded.meta.input.size)[0]
        found[arm] = _attribution(arm, targets[arm], layer, cam)
    return found


def _attribution(arm: str, target: str, layer: str, cam: CamMap) -> Attribution:
    return Attribution(arm=arm, target=target, layer=layer, heat=cam.heat, grid=cam.grid, peak=cam.peak)


def _feature_distances(served: Served, out: Outputs) -> list[float | None]:
    """Distance of each image's features from the training lesions'; None where the atlas does not hold those."""
    atlas = served.atlas
    if atlas is None or atlas.gaussian is None or atlas.meta.features is None:
        return [None] * len(out.mu)
    return [float(d) for d in atlas.gaussian.distance(trunk_features(out, atlas.meta.features.arm).cpu().numpy())]


def _locate(served: Served, mu: np.ndarray, seen: Reconstruction, features: float | None
            ) -> tuple[MapPosition | None, tuple[Neighbour, ...], Novelty | None]:
    """Place on the map, nearest known lesions and novelty; nothing without an atlas."""
    atlas = served.atlas
    if atlas is None:
        return None, (), None
    distances = atlas.distances(mu)
    novelty = None
    if atlas.reference is not None:
        detail = float(input_detail(seen.original[None])[0])
        novelty = assess(atlas.reference, atlas.mean_distance(distances), seen.mse, detail, features)
    return atlas.place(distances), atlas.neighbours(distances), novelty
