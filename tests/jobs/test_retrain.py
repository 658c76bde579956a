"""A whole retraining job on tiny models: prepared, trained, gated, mapped, registered, promoted, repeated.

Its steps run in this process, which saves a dozen starts of Python; `test_launcher` has the processes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dermdemo.analysis import embed
from dermdemo.analysis.analyser import Analyser
from dermdemo.cli import main
from dermdemo.config import environment
from dermdemo.data.synthetic import write_synthetic
from dermdemo.errors import CheckpointError, DataError, JobError
from dermdemo.jobs.datasets import Offer
from dermdemo.jobs.launcher import Launcher
from dermdemo.jobs.plan import RetrainRequest
from dermdemo.jobs.retrain import Retraining, retraining
from dermdemo.jobs.store import Store
from tests.jobs.test_datasets import renamed
from tests.sets import pca_map

KNOBS = {"train.schedule": "32x2", "train.batch_size": "32", "pretrain.schedule": "32x1", "pretrain.batch_size": "32",
         "pretrain.latent": "8", "train.views": "1"}


@pytest.fixture
def parts(make_set: Callable[[int], Path], lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
          ) -> Iterator[Retraining]:
    """Retraining on the live models' own data, with a queue from which nothing is launched."""
    root = Path(shutil.copytree(lesion_folder, tmp_path / "allowed" / "own")).parent
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DERMDEMO_CHECKPOINTS", str(make_set(0)))
    monkeypatch.setenv("DERMDEMO_DATA", str(root))
    monkeypatch.setattr(embed, "fit_map", pca_map)
    parts = retraining()
    parts.data.add_folder(str(root / "own"), Offer(who="ada"))
    yield Retraining(Launcher(Store(environment().home.resolve()), {"cpu": 0}), parts.data)


def _work(parts: Retraining, job: str, *, until: str = "") -> None:
    """Run the steps of a job here."""
    folder = parts.jobs.store.folder(job)
    for step in folder.record().steps:
        if step.name == until:
            return
        argv = [a.replace("{folder}", str(folder.path)).replace("{job}", job) for a in step.argv]
        assert main(argv) == 0, step.name


@pytest.mark.slow
def test_a_job_from_data_to_a_promoted_version(parts: Retraining, capsys: pytest.CaptureFixture[str]) -> None:
    job = parts.launch(RetrainRequest(data="d0001", stage1=True, resamples=20, knobs=KNOBS), who="ada")
    _work(parts, job)
    registry = parts.data.registry
    version = registry.version(1)
    assert version.job == job and version.who == "ada"
    assert version.verdict.startswith("vae arm (") and "On all images:" in version.verdict
    assert version.data_hash == parts.data.get("d0001").readable_hash
    assert not (parts.jobs.store.folder(job).path / "dry").exists()
    assert parts.add_candidate(job) == version, "a step done twice makes one version"
    # -- live, by the commands
    analyser = Analyser(registry.live_root, device="cpu")
    before = analyser.vae.sha256
    assert main(["models", "promote", "1", "--who", "ada"]) == 0
    analyser.reload()
    assert analyser.vae.sha256 == version.models["vae"] != before and not analyser.atlas.logits.keys() - {
        "vae", "imagenet"}  # type: ignore[union-attr]
    assert main(["models", "list"]) == 0 and main(["models", "verify"]) == 0
    assert "vae arm (" in capsys.readouterr().out
    assert main(["models", "rollback", "0", "--who", "ada"]) == 0
    analyser.reload()
    assert analyser.vae.sha256 == before
    # -- again from its record
    again = parts.repeat(job, who="ben")
    first, second = (parts.jobs.store.folder(j).record() for j in (job, again))
    assert second.steps == first.steps and second.facts["repeats"] == job and second.facts["differs"] == ""
    assert main(["audit-log"]) == 0
    assert registry.log.read()[1].details == {"job": job, "data": "d0001"}
    assert [e.action for e in registry.log.read()] == ["register-data", "launch", "register", "promote", "rollback",
                                                       "launch"]


def test_without_stage_one_the_vae_is_the_base_versions(parts: Retraining) -> None:
    job = parts.launch(RetrainRequest(data="d0001", knobs=KNOBS, dry_run=False), who="ada")
    folder = parts.jobs.store.folder(job).path
    for _ in range(2):  # a step may be done again
        _work(parts, job, until="stage II vae")
        assert (folder / "set" / "vae" / "meta.json").exists() and not (folder / "dry" / "lesions").exists()


def test_the_dry_data_are_few_and_split_as_the_whole(parts: Retraining) -> None:
    job = parts.launch(RetrainRequest(data="d0001", knobs=KNOBS), who="ada")
    _work(parts, job, until="dry stage II vae")
    table = (parts.jobs.store.folder(job).path / "dry" / "lesions" / "lesions.csv").read_text().splitlines()
    column = table[0].split(",").index("split")
    counts = [line.split(",")[column] for line in table[1:]]
    assert counts.count("train") == 32 and set(counts) == {"train", "val", "calib", "test"}


def test_a_job_is_prepared_only_from_what_was_queued(parts: Retraining, make_set: Callable[[int], Path]) -> None:
    job = parts.launch(RetrainRequest(data="d0001", dry_run=False), who="ada")
    table = next(Path(parts.data.get("d0001").source).glob("*.csv"))
    text = table.read_text()
    table.write_text(text.replace(",nv,", ",mel,", 1))
    with pytest.raises(DataError, match="changed since"):
        parts.prepare(job)
    table.write_text(text)
    parts.prepare(job)
    other = Retraining(parts.jobs, type(parts.data)(parts.data.home, parts.data.roots,
                                                    type(parts.data.registry)(parts.data.home, make_set(50))))
    with pytest.raises(CheckpointError, match="not what it was when the job was queued"):
        other.prepare(job)


def test_new_data_that_mix_in_what_the_vae_knows_need_stage_one(parts: Retraining, tmp_path: Path) -> None:
    """Training lesions of the live models among new ones: allowed, but only with a new VAE."""
    own, new = tmp_path / "allowed" / "own", tmp_path / "allowed" / "mixed"
    renamed(write_synthetic(new, n_lesions=60, seed=21), "NEW")
    from dermdemo.data.sources import load_source
    from dermdemo.data.splits import make_split

    table = load_source(own)
    keep = make_split(table, seed=0).rows("train")[:5]
    metadata = next(new.glob("*.csv"))
    lines = next(own.glob("*.csv")).read_text().splitlines()
    ids = table.frame["image_id"].iloc[keep].tolist()
    metadata.write_text(metadata.read_text() + "\n".join(x for x in lines if any(i in x for i in ids)) + "\n")
    for row in keep:
        shutil.copy(table.frame["locator"].iat[row], next(new.rglob("*.jpg")).parent)
    data = parts.data.add_folder(str(new), Offer(who="ada"))
    assert data.known >= 5
    job = parts.launch(RetrainRequest(data=data.id, dry_run=False), who="ada")
    with pytest.raises(DataError, match="Launch the job with Stage I"):
        parts.prepare(job)
    parts.prepare(parts.launch(RetrainRequest(data=data.id, dry_run=False, stage1=True), who="ada"))


def test_what_cannot_be_done_is_not_queued(parts: Retraining) -> None:
    with pytest.raises(DataError, match="no data set"):
        parts.launch(RetrainRequest(data="d0009"), who="ada")
    with pytest.raises(CheckpointError, match="no version 4"):
        parts.launch(RetrainRequest(data="d0001", base=4), who="ada")
    with pytest.raises(JobError, match="'cuda' here"):
        parts.launch(RetrainRequest(data="d0001", device="cuda"), who="ada")
    assert parts.jobs.tick() == []


def test_jobs_are_shown_and_cancelled_by_commands(parts: Retraining, capsys: pytest.CaptureFixture[str],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dermdemo.jobs.launcher.launcher", lambda: parts.jobs)
    job = parts.launch(RetrainRequest(data="d0001"), who="ada")
    assert main(["jobs", "list"]) == 0 and main(["jobs", "show", job]) == 0 and main(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert f"{job}  queued" in out and "base_sha256" in out and "dry gate" in out and "d0001  own" in out
    assert main(["jobs", "cancel", job, "--who", "ben"]) == 0
    assert f"{job}  cancelled" in capsys.readouterr().out
    last = parts.data.registry.log.read()[-1]
    assert (last.who, last.action, json.dumps(dict(last.details))) == ("ben", "job-cancel", f'{{"job": "{job}"}}')
    assert main(["jobs", "stop", job]) == 1 and "nothing to stop" in capsys.readouterr().err
    assert main(["jobs", "launch", "d0001", "--knob", "x"]) == 1
