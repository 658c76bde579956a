"""Pictures of a run: whole ones, of this job."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from dermdemo.jobs.grids import grid_epochs, read_grid
from dermdemo.jobs.records import JobFolder, Step
from tests.jobs.runs import STAGE1


def _picture(folder: Path, epoch: int) -> Path:
    path = folder / "work" / "I" / "grids" / f"epoch-{epoch:04d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 16), (epoch, 0, 0)).save(path)
    return path


def test_pictures_are_named_by_their_epochs(tmp_path: Path) -> None:
    job = JobFolder(tmp_path)
    assert grid_epochs(job, STAGE1) == [] and read_grid(job, STAGE1, 5) is None
    for epoch in (10, 5, 12000):
        _picture(tmp_path, epoch)
    (tmp_path / "work" / "I" / "grids" / "other.png").write_bytes(b"x")
    assert grid_epochs(job, STAGE1) == [5, 10, 12000]
    data = read_grid(job, STAGE1, 10)
    assert data is not None and data == (tmp_path / "work" / "I" / "grids" / "epoch-0010.png").read_bytes()
    assert read_grid(job, STAGE1, 7) is None and read_grid(job, STAGE1, -1) is None


def test_a_picture_that_is_being_written_is_not_shown(tmp_path: Path) -> None:
    job = JobFolder(tmp_path)
    _picture(tmp_path, 5)
    half = _picture(tmp_path, 10)
    half.write_bytes(half.read_bytes()[:-6])
    assert grid_epochs(job, STAGE1) == [5] and read_grid(job, STAGE1, 10) is None
    half.write_bytes(b"")
    assert grid_epochs(job, STAGE1) == [5]


def test_nothing_outside_the_job_is_shown(tmp_path: Path) -> None:
    outside = _picture(tmp_path / "other", 5)
    job = JobFolder(tmp_path / "job")
    elsewhere = Step(name="x", run="../other/" "work/I", argv=("pretrain",))
    (job.path / "work" / "I").mkdir(parents=True)
    assert read_grid(job, elsewhere, 5) is None and grid_epochs(job, elsewhere) == []
    assert grid_epochs(job, Step(name="gate", argv=("gate",))) == []
    os.symlink(outside.parent, job.path / "work" / "I" / "grids")
    assert read_grid(job, STAGE1, 5) is None
    (job.path / "work" / "I" / "grids").unlink()
    _picture(job.path, 6).unlink()
    os.symlink(outside, job.path / "work" / "I" / "grids" / "epoch-0006.png")
    assert read_grid(job, STAGE1, 6) is None
