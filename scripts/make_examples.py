"""Paint the app's example images: ``python scripts/make_examples.py [FOLDER]``.

One synthetic lesion per class and one more nevus under hair, as ``assets/examples/synthetic_<label>.jpg``
(``..._2.jpg`` for the second of a class). Painted by
`dermdemo.data.synthetic` from fixed seeds: no patient, no photograph, the same bytes every time with the
same version of Pillow.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dermdemo.data.synthetic import synthetic_lesion
from dermdemo.ui.examples import FOLDER, PREFIX

SIZE = (400, 300)
COMMENT = b"Synthetic picture painted by dermdemo; no patient."
SEEDS: dict[str, tuple[int, ...]] = {
    "akiec": (7,), "bcc": (4,), "bkl": (3,), "df": (10,), "mel": (11,), "nv": (2, 3), "vasc": (9,),
}  # fmt: skip


def main(folder: Path = FOLDER) -> None:
    """Write every example, over older ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for label, seeds in SEEDS.items():
        for number, seed in enumerate(seeds, start=1):
            target = folder / f"{PREFIX}{label}{f'_{number}' if number > 1 else ''}.jpg"
            synthetic_lesion(label, seed, size=SIZE).save(target, quality=90, comment=COMMENT)
            print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
