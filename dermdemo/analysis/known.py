"""Real pictures of the known lesions, where their data set lies on this machine; no picture ships with the package.

Importing this module does not read tables: pandas comes with the first source.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dermdemo.data.images import decode_image, to_input
from dermdemo.errors import DataError
from dermdemo.types import InputSpec

SIDE = 224
_SPEC = InputSpec(size=SIDE)


class KnownImages:
    """The images of a data set by image id. Thread-safe.

    Args:
        source: anything `data.sources.load_source` reads.

    Raises:
        DataError: the source cannot be read.
    """

    def __init__(self, source: str | Path) -> None:
        from dermdemo.data.sources import load_source

        self._table = load_source(source)
        self._rows = {str(image_id): row for row, image_id in enumerate(self._table.frame["image_id"])}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._rows

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self._table.name

    def require(self, image_ids: Iterable[str]) -> int:
        """How many of `image_ids` are here. Raises DataError if none is: it is another data set."""
        ids = list(image_ids)
        shared = sum(image_id in self._rows for image_id in ids)
        if not shared:
            raise DataError(f"None of the atlas' {len(ids)} image ids is in '{self.name}': it is another data set. "
                            "Give the one the atlas was built from.")
        return shared

    def picture(self, image_id: str) -> np.ndarray:
        """The image as a model sees it, the short side at `SIDE` px and the centre cut out: (SIDE, SIDE, 3) uint8.

        Raises:
            DataError: no such image, or its file has gone or is damaged.
        """
        if image_id not in self._rows:
            raise DataError(f"There is no image '{image_id}' in '{self.name}'.")
        data = self._table.read(self._rows[image_id])
        return to_input(decode_image(data, name=image_id).pixels, _SPEC)
