"""HAM10000 where it is on disk (`HAM10000` in the environment, or beside the checkout), with the shipped models."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.atlas_files import LESIONS_FILE
from dermdemo.cli import main
from dermdemo.config import environment
from dermdemo.data.images import decode_image
from dermdemo.data.sources import LesionTable, load_source
from dermdemo.models.checkpoint import META_FILE
from dermdemo.types import Analysis

HAM10000 = Path(os.environ.get("HAM10000", Path(__file__).resolve().parents[2] / "shared" / "data" / "ham10000"))
NATURAL = HAM10000.parent / "tiny_imagenet" / "train-0-of-3.parquet"
SHIPPED = environment().checkpoints
SKIN = ((233, 190, 172), (224, 172, 150), (198, 134, 110), (160, 110, 90), (110, 70, 50), (210, 160, 160))

pytestmark = [pytest.mark.realdata, pytest.mark.slow,
              pytest.mark.skipif(not HAM10000.is_dir(), reason="HAM10000 is not on this machine")]
needs_models = pytest.mark.skipif(not (SHIPPED / "vae" / META_FILE).exists(), reason="no shipped checkpoints")


@pytest.fixture(scope="module")
def table() -> LesionTable:
    return load_source(HAM10000)


@pytest.fixture(scope="module")
def two_lesions(table: LesionTable) -> dict[str, bytes]:
    """A melanoma and a nevus of the test split, by image id."""
    rows = [int(np.flatnonzero(table.frame["label"] == label)[7]) for label in ("mel", "nv")]
    return {table.frame["image_id"].iat[r]: table.read(r) for r in rows}


@pytest.fixture(scope="module")
def analyser() -> Analyser:
    return Analyser(SHIPPED, device="cpu")


@pytest.fixture(scope="module")
def analyses(analyser: Analyser, two_lesions: dict[str, bytes]) -> list[Analysis]:
    return [analyser.analyse(decode_image(data), name=name) for name, data in two_lesions.items()]


def test_the_table_has_the_published_counts(table: LesionTable) -> None:
    assert (len(table), table.frame["group"].nunique()) == (10015, 7470)
    counts = table.frame["label"].value_counts().to_dict()
    assert counts == {"nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115}


def test_the_audit_finds_the_known_near_duplicate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "audit", str(HAM10000), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    duplicates = next(p for p in report["problems"] if p["kind"] == "near-duplicate")
    assert duplicates["count"] == 1 and "ISIC_0030074 = ISIC_0025226" in duplicates["examples"]
    assert sum(row["groups"] for row in report["split_table"].values()) == 7470


@needs_models
def test_two_lesions_differ_in_everything_that_is_shown(analyses: list[Analysis]) -> None:
    first, second = analyses
    for arm in first.arms:
        a, b = first.arms[arm].probabilities, second.arms[arm].probabilities
        assert max(abs(a[k] - b[k]) for k in a) > 0.01
        assert np.abs(first.attributions[arm].heat - second.attributions[arm].heat).mean() > 0.01
    assert np.abs(first.reconstruction.image.astype(int) - second.reconstruction.image.astype(int)).mean() > 2


@needs_models
def test_each_reconstruction_is_nearer_to_its_own_original(analyses: list[Analysis]) -> None:
    originals = [a.reconstruction.original.astype(float) for a in analyses]
    decoded = [a.reconstruction.image.astype(float) for a in analyses]
    error = np.array([[np.square(d - o).mean() for o in originals] for d in decoded])
    assert error[0, 0] < error[0, 1] and error[1, 1] < error[1, 0]


@needs_models
def test_the_command_gives_the_documented_json(two_lesions: dict[str, bytes], tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    for name, data in two_lesions.items():
        (tmp_path / f"{name}.jpg").write_bytes(data)
    files = sorted(map(str, tmp_path.glob("*.jpg")))
    assert main(["analyse", *files, "--json", "--device", "cpu"]) == 0
    for result in json.loads(capsys.readouterr().out):
        assert set(result["arms"]) == {"vae", "imagenet"}
        for arm in result["arms"].values():
            assert sum(arm["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def even(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (200, 150), colour)


def gradient(dark: tuple[int, int, int], light: tuple[int, int, int], kind: str) -> Image.Image:
    """A smooth run from one colour to the other: across, down, or outwards as a spot on skin."""
    y, x = np.mgrid[:150, :200]
    far = {"across": x / 199, "down": y / 149, "spot": np.clip(np.hypot(x - 100, y - 75) / 100, 0, 1)}[kind]
    share = far[..., None]
    return Image.fromarray((np.array(dark) * (1 - share) + np.array(light) * share).astype(np.uint8))


def levels(analyser: Analyser, pictures: Iterable[Image.Image]) -> Counter[str]:
    found = [analyser.analyse(picture).novelty for picture in pictures]
    return Counter(novelty.level for novelty in found if novelty is not None)


@needs_models
def test_blank_smooth_and_noisy_pictures_are_never_typical(analyser: Analyser) -> None:
    ends = [((0, 0, 0), (255, 255, 255)), (SKIN[4], SKIN[0]), (SKIN[2], SKIN[0]), ((200, 150, 150), (215, 170, 165))]
    rng = np.random.default_rng(0)
    pictures = [*(even((v, v, v)) for v in (0, 64, 128, 192, 255)), *map(even, SKIN),
                *(gradient(*pair, kind) for pair in ends for kind in ("across", "down", "spot")),
                *(Image.fromarray(rng.integers(0, 256, (150, 200, 3), dtype=np.uint8)) for _ in range(3))]
    assert levels(analyser, pictures)["typical"] == 0


@needs_models
@pytest.mark.skipif(not NATURAL.exists(), reason="Tiny-ImageNet is not on this machine")
def test_natural_pictures_are_not_typical_and_most_lesions_are(analyser: Analyser, table: LesionTable) -> None:
    webps = pq.read_table(NATURAL, columns=["webp"]).column("webp")
    natural = [decode_image(webps[k * 1300].as_py()).pixels for k in range(12)]
    soft = [p.resize((side, side)).resize((256, 256)) for side in (16, 32) for p in natural]
    assert levels(analyser, [*natural, *soft])["typical"] <= 1
    known = pq.read_table(SHIPPED / "atlas" / LESIONS_FILE).to_pydict()
    test = [image for image, split in zip(known["image_id"], known["split"], strict=True) if split == "test"][::80]
    rows = {image: row for row, image in enumerate(table.frame["image_id"])}
    lesions = levels(analyser, (decode_image(table.read(rows[image])).pixels for image in test))
    assert lesions["typical"] >= 0.85 * len(test)
