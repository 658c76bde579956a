"""The known lesions as the page's map gets them: one packed answer per atlas, and a picture per lesion.

The points never travel through a component: the page fetches them once by a key that is the hash of their content,
so that they can be cached for ever and a page opened before a reload cannot mix two atlases. Nothing here comes from
a visitor.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dermdemo.analysis.cohort import KnownLesions
from dermdemo.analysis.predictions import predict_arm
from dermdemo.errors import CheckpointError, DermdemoError
from dermdemo.types import Prediction
from dermdemo.ui.map_columns import columns
from dermdemo.ui.wording import latent as words

if TYPE_CHECKING:
    from dermdemo.analysis.analyser import Analyser
    from dermdemo.analysis.known import KnownImages
    from dermdemo.analysis.latent import Atlas
    from dermdemo.models.checkpoint import CheckpointMeta

ASSETS = "/dermdemo"  # prefix of our own routes
KEPT_PICTURES = 1024
DIGITS = 3  # of a coordinate: a thousandth of a map unit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Packed:
    """An answer's body, and the same gzipped."""

    plain: bytes
    zipped: bytes

    @classmethod
    def of(cls, body: bytes) -> Packed:
        return cls(body, gzip.compress(body, 6, mtime=0))


@dataclass(frozen=True)
class Snapshot:
    """One atlas as the page sees it.

    Attributes:
        key: SHA-256 of everything below.
        arms: metadata of the classifiers whose predictions are held.
        real: (N,) bool, lesions whose real image is on this machine.
        missing: arms whose predictions the atlas does not hold.
    """

    key: str
    atlas: Atlas
    known: KnownLesions
    arms: Mapping[str, CheckpointMeta]
    real: np.ndarray
    missing: tuple[str, ...]
    points: Packed

    def predictions(self, row: int) -> dict[str, Prediction]:
        """What each arm says of one lesion, from its stored logits."""
        return {arm: predict_arm(arm, meta, self.atlas.logits[arm][row].astype(np.float64), None)
                for arm, meta in self.arms.items()}


class KnownMap:
    """The map of the atlas being served, made when first asked for. Thread-safe.

    Args:
        models: an analyser, or what gives the one being served now.
        images: the data set's images, where they are on this machine.
    """

    def __init__(self, models: Analyser | Callable[[], Analyser | None] | None, images: KnownImages | None = None
                 ) -> None:
        self._now = models if callable(models) else lambda: models
        self._images = images
        self._made: Snapshot | None = None
        self._lock, self._drawing = threading.Lock(), threading.Lock()
        self._kept = lru_cache(KEPT_PICTURES)(self._draw)

    @property
    def source(self) -> str | None:
        """Name of the data set whose images are shown; None where lesions are shown as reconstructions."""
        return self._images.name if self._images else None

    def current(self) -> Snapshot | None:
        """The atlas being served; None where there is none."""
        with self._lock:
            analyser = self._now()
            atlas = analyser.atlas if analyser else None
            if atlas is None or analyser is None:
                self._made = None
            elif self._made is None or self._made.atlas is not atlas:
                self._made = take(analyser, atlas, self._images)
            return self._made

    def picture(self, key: str, row: int) -> bytes | None:
        """A lesion as PNG; None for another key, a row that is not there, or an image that cannot be read."""
        now = self.current()
        if now is None or key != now.key or not 0 <= row < len(now.known):
            return None
        try:
            return self._kept(now.key, row)
        except DermdemoError as error:
            log.warning("A known lesion cannot be shown: %s", error)
            return None

    def _draw(self, key: str, row: int) -> bytes:
        now, analyser = self.current(), self._now()
        if now is None or now.key != key or analyser is None or analyser.atlas is not now.atlas:
            raise CheckpointError(words.STALE)
        if now.real[row] and self._images is not None:
            pixels = self._images.picture(str(now.known.image_ids[row]))
        else:
            with self._drawing:  # one decoder pass at a time: pictures must not starve the analyses
                pixels = analyser.known_pictures([row])[0]
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        return buffer.getvalue()


def take(analyser: Analyser, atlas: Atlas, images: KnownImages | None) -> Snapshot:
    """Pack an atlas for the page."""
    arms, missing = {}, []
    for arm in analyser.arms:
        try:
            arms[arm] = analyser.known_predictions(arm)
        except CheckpointError:
            missing.append(arm)
    known = KnownLesions.of(atlas, arms)
    real = np.array([images is not None and str(i) in images for i in known.image_ids], dtype=bool)
    unseen = np.flatnonzero(~real).tolist() if images else []
    body = {
        "x": _rounded(atlas.coordinates[:, 0]), "y": _rounded(atlas.coordinates[:, 1]),
        "ids": known.image_ids.tolist(), "columns": columns(atlas, known),
        "real": {"source": images.name if images else None, "missing": unseen},
    }
    packed = Packed.of(json.dumps(body, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode())
    digest = hashlib.sha256(packed.plain + atlas.meta.sha256.encode()).hexdigest()
    metas = {arm: analyser.arms[arm] for arm in arms}
    return Snapshot(digest, atlas, known, metas, real, tuple(missing), packed)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(v, DIGITS) for v in values.astype(float).tolist()]
