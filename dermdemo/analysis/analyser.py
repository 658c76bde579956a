"""The one way to analyse an image: what the app, the API, the command line and batch runs all call.

Thread-safe: everything that is loaded sits in one frozen `Served`, every call works on the one it started
with, and `reload` replaces it in a single assignment. No tensors in or out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dermdemo.analysis.assembly import (
    Ask,
    Prepared,
    analyse_batch,
    attribute,
    prepare_bytes,
    prepare_image,
    prepare_path,
)
from dermdemo.analysis.attribution import LAYERS
from dermdemo.analysis.faithfulness import Faithfulness, SanityStep, cascading_randomisation, faithfulness
from dermdemo.analysis.forward import to_tensor
from dermdemo.analysis.latent import Atlas, prior_dimensions
from dermdemo.analysis.predictions import predict_known
from dermdemo.analysis.reconstruction import decode_latents, posterior_samples, traverse
from dermdemo.analysis.serving import ARMS, Served, Store, load_served
from dermdemo.config import DeviceName
from dermdemo.errors import CheckpointError, ConfigError, ImageError, NotFittedError
from dermdemo.evaluation.calibration import apply_temperature
from dermdemo.models.checkpoint import CheckpointMeta
from dermdemo.types import Analysis, Attribution, DecodedImage, Failure, KnownPredictions, LatentDimension

BATCH = 8
LAYER = next(iter(LAYERS))


class Analyser:
    """Both classifiers, the VAE and the atlas of a checkpoints folder, ready to analyse images.

    Args:
        checkpoints: folder with one checkpoint folder each, or what gives that folder at every `reload`.
        device: ``auto``, ``cpu`` or ``cuda``.
        vae, atlas: folder names; an absent atlas is allowed and said in every `Analysis.notes`.
        arms: arms to serve; their folders are found by the arm in their metadata.

    Raises:
        CheckpointError, NotFittedError: what is there cannot be served.
        ConfigError: CUDA was asked for and is not there.
    """

    def __init__(self, checkpoints: Path | Callable[[], Path], *, device: DeviceName = "auto", vae: str = "vae",
                 arms: Sequence[str] = ARMS, atlas: str = "atlas") -> None:
        self._root = checkpoints if callable(checkpoints) else lambda: Path(checkpoints)
        self._store = Store(root=self._root(), vae=vae, arms=tuple(arms), atlas=atlas)
        self._device = device
        self._reloading = threading.Lock()
        self._served = load_served(self._store, device)

    @property
    def root(self) -> Path:
        """The checkpoints folder that is served from."""
        return self._store.root

    @property
    def atlas(self) -> Atlas | None:
        """The atlas being served."""
        return self._served.atlas

    @property
    def vae(self) -> CheckpointMeta:
        """Metadata of the VAE being served."""
        return self._served.vae.meta

    @property
    def arms(self) -> Mapping[str, CheckpointMeta]:
        """Metadata of the classifiers being served, by arm."""
        return {arm: loaded.meta for arm, loaded in self._served.arms.items()}

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that every arm knows, in the order of the first: the possible targets."""
        first, *others = (loaded.meta.classes for loaded in self._served.arms.values())
        return tuple(c for c in first if all(c in other for other in others))

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers that maps can be made from, the default first."""
        return tuple(LAYERS)

    @property
    def device(self) -> str:
        """Where the models run."""
        return str(self._served.device)

    def reload(self) -> None:
        """Serve what is in the (now) live checkpoints folder; running analyses finish on what they began with.

        Raises:
            CheckpointError, NotFittedError: the new ones are refused; the previous ones go on serving.
        """
        with self._reloading:
            store = replace(self._store, root=self._root())
            self._served = load_served(store, self._device)
            self._store = store

    def analyse(self, image: DecodedImage | Image.Image, *, name: str = "image", target: str | None = None,
                layer: str = LAYER) -> Analysis:
        """Analyse one decoded image.

        Args:
            image: from `data.images.decode_image`; or a PIL image, taken as upright sRGB.
            target: class of the attribution maps; by default each arm's own prediction.
            layer: one of `layers`.

        Raises:
            ImageError: a PIL image of impossible size or content.
            ConfigError: unknown target or layer.
        """
        served, ask = self._begin(target, layer)
        return analyse_batch(served, [prepare_image(served, name, image)], ask)[0]

    def analyse_bytes(self, data: bytes, *, name: str = "image", target: str | None = None, layer: str = LAYER
                      ) -> Analysis:
        """Analyse an encoded image of unknown origin. Raises ImageError, ConfigError."""
        served, ask = self._begin(target, layer)
        return analyse_batch(served, [prepare_bytes(served, name, data)], ask)[0]

    def analyse_many(self, items: Iterable[tuple[str, bytes | Path]], *, target: str | None = None,
                     layer: str = LAYER) -> Iterator[Analysis | Failure]:
        """Analyse named files or bytes in batches, in order; what cannot be decoded becomes a `Failure`.

        All of one call is analysed by the models that were live when it began.

        Raises:
            ConfigError: unknown target or layer.
        """
        served, ask = self._begin(target, layer)
        return _stream(served, iter(items), ask)

    def require(self, analysis: Analysis) -> None:
        """Raise CheckpointError unless these models made the analysis, so that more of it can be computed."""
        self._same(analysis)

    def attribute(self, analysis: Analysis, *, target: str | None = None, layer: str = LAYER
                  ) -> dict[str, Attribution]:
        """Maps of an analysed image for another class or layer, by arm; only the classifiers run.

        Raises:
            ConfigError: unknown target or layer.
            CheckpointError: the models have been replaced since the analysis.
        """
        served = self._same(analysis)
        ask = Ask.checked(served, target, layer)
        return attribute(served, {arm: self._input(served, analysis, arm) for arm in served.arms},
                         {arm: ask.target or p.top for arm, p in analysis.arms.items()}, layer)

    def posterior_samples(self, analysis: Analysis, *, count: int = 6, seed: int = 0) -> np.ndarray:
        """Decoded draws from the posterior of an analysed image, (count, S, S, 3) uint8."""
        served = self._same(analysis)
        return posterior_samples(served.vae.module, analysis.mu, analysis.logvar, served.vae.meta.input.size,
                                 count=count, seed=seed)

    def traverse(self, analysis: Analysis, dimension: int, values: Sequence[float]) -> np.ndarray:
        """Decode with one latent coordinate replaced by each value, (len(values), S, S, 3) uint8."""
        served = self._same(analysis)
        return traverse(served.vae.module, analysis.mu, dimension, values, served.vae.meta.input.size)

    def dimensions(self) -> tuple[LatentDimension, ...]:
        """The latent's coordinates, the most active among the atlas' training images first.

        Computed once per atlas. Without an atlas: by index, with the spread (1) and range of the prior, which
        an autoencoder without one need not keep to.
        """
        served = self._served
        return served.atlas.dimensions if served.atlas else prior_dimensions(served.vae.module.latent)

    def known_pictures(self, rows: Sequence[int]) -> np.ndarray:
        """Known lesions as the VAE decodes them from their stored place: the atlas holds no pictures.

        Args:
            rows: rows of the atlas, such as `Neighbour.index`.

        Returns:
            (len(rows), S, S, 3) uint8.

        Raises:
            NotFittedError: there is no atlas.
            ConfigError: there is no such row.
        """
        served = self._served
        atlas = _atlas(served)
        missing = [row for row in rows if not 0 <= row < len(atlas)]
        if missing:
            raise ConfigError(f"The atlas has rows 0 to {len(atlas) - 1}; there is no {missing[0]}.")
        return decode_latents(served.vae.module, atlas.mu[list(map(int, rows))], served.vae.meta.input.size)

    def known_predictions(self, arm: str) -> KnownPredictions:
        """An arm's first class for every row of the atlas, and its probability at the arm's temperature.

        Raises:
            NotFittedError: there is no atlas.
            ConfigError: unknown arm.
            CheckpointError: the atlas was made with another classifier of that arm.
        """
        served = self._served
        atlas = _atlas(served)
        _check_arm(served, arm)
        if arm not in atlas.logits:
            raise CheckpointError(f"The atlas holds no predictions of the '{arm}' arm being served: the arm has been "
                                  "replaced since. Build the atlas again: `python -m dermdemo embed`.")
        return predict_known(served.arms[arm].meta, atlas.logits[arm])

    def faithfulness(self, analysis: Analysis, arm: str, *, steps: int = 12, controls: int = 3, seed: int = 0
                     ) -> Faithfulness:
        """Deletion and insertion of an arm's map against random maps; takes many forward passes.

        Raises:
            ConfigError: unknown arm, or a flat map.
            CheckpointError: the models have been replaced since the analysis.
        """
        served = self._same(analysis)
        x = self._input(served, analysis, arm)
        model, meta = served.arms[arm].module, served.arms[arm].meta
        cam = analysis.attributions[arm]
        index = meta.classes.index(cam.target)

        @torch.inference_mode()
        def probability(batch: Tensor) -> np.ndarray:
            logits = model(batch.contiguous(memory_format=torch.channels_last)).cpu().numpy()
            return apply_temperature(logits, meta.temperature or 1.0)[:, index]

        return faithfulness(probability, x, cam, steps=steps, controls=controls, seed=seed)

    def sanity(self, analysis: Analysis, arm: str, *, seed: int = 0) -> tuple[SanityStep, ...]:
        """Does an arm's map depend on its weights? Cascading randomisation. Raises as `faithfulness`."""
        served = self._same(analysis)
        x = self._input(served, analysis, arm)
        cam, loaded = analysis.attributions[arm], served.arms[arm]
        return cascading_randomisation(loaded.module, x, loaded.meta.classes.index(cam.target), cam.layer, seed=seed)

    def _begin(self, target: str | None, layer: str) -> tuple[Served, Ask]:
        served = self._served
        return served, Ask.checked(served, target, layer)

    def _same(self, analysis: Analysis) -> Served:
        """What is being served, if it is what made the analysis. Raises CheckpointError."""
        served = self._served
        models = {k: v for k, v in served.models.items() if k != "atlas"}
        if any(analysis.models.get(name) != sha for name, sha in models.items()):
            raise CheckpointError("The models have been replaced since this image was analysed: analyse it again.")
        return served

    def _input(self, served: Served, analysis: Analysis, arm: str) -> Tensor:
        """(1, 3, S, S): the image as the arm saw it."""
        _check_arm(served, arm)
        return to_tensor(analysis.inputs[arm][None], served.device)


def _check_arm(served: Served, arm: str) -> None:
    if arm not in served.arms:
        raise ConfigError(f"There is no arm '{arm}': choose one of {', '.join(served.arms)}.")


def _atlas(served: Served) -> Atlas:
    """The atlas being served. Raises NotFittedError where there is none."""
    if served.atlas is None:
        raise NotFittedError("There is no atlas: no known lesions. Build it with `python -m dermdemo embed`.")
    return served.atlas


def _stream(served: Served, items: Iterator[tuple[str, bytes | Path]], ask: Ask) -> Iterator[Analysis | Failure]:
    """Batches of `BATCH` items; failures keep their place."""
    while chunk := list(islice(items, BATCH)):
        prepared = [_prepare(served, name, source) for name, source in chunk]
        good = [p for p in prepared if isinstance(p, Prepared)]
        done = iter(analyse_batch(served, good, ask) if good else ())
        for entry in prepared:
            yield entry if isinstance(entry, Failure) else next(done)


def _prepare(served: Served, name: str, source: bytes | Path) -> Prepared | Failure:
    try:
        if isinstance(source, Path):
            return prepare_path(served, name, source)
        return prepare_bytes(served, name, source)
    except ImageError as error:
        return Failure(name=name, message=str(error), reason=error.reason)
