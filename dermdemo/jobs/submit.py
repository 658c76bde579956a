"""`python -m dermdemo.jobs.submit FOLDER ATTEMPT`: hand one attempt to submitit and end.

A process of its own, in a session of its own: the worker is then nobody's child and outlives the web process,
its terminal and its signals.
"""

from __future__ import annotations

import sys
from pathlib import Path

import submitit

from dermdemo.config import environment
from dermdemo.errors import DermdemoError, JobError
from dermdemo.jobs.cluster import SlurmSettings
from dermdemo.jobs.machine import keep_visible
from dermdemo.jobs.processes import identity
from dermdemo.jobs.records import JobFolder, JobRecord
from dermdemo.jobs.worker import run_job

SPARE_MINUTES = 10  # the worker keeps the limit itself; submitit's is a net below it


def job_name(job: str, attempt: int) -> str:
    """Name of an attempt on the cluster."""
    return f"dermdemo-{job}-{attempt}"


def submit(folder: JobFolder, attempt: int) -> str:
    """Start an attempt; returns the process or Slurm id. Raises JobError: it cannot be started."""
    record = folder.record()
    executor = submitit.AutoExecutor(folder=folder.path / "submitit",
                                     cluster="slurm" if record.device == "slurm" else "local")
    minutes = int(record.hours * 60) + SPARE_MINUTES
    executor.update_parameters(timeout_min=minutes, tasks_per_node=1, name=job_name(record.id, attempt),
                               **_resources(record))
    job = executor.submit(run_job, str(folder.path), attempt)
    who = "" if record.device == "slurm" else identity(int(job.job_id))
    folder.write("launched", attempt=attempt, handle=job.job_id, identity=who)
    return str(job.job_id)


def _resources(record: JobRecord) -> dict[str, object]:
    if record.device != "slurm":
        keep_visible()  # the worker gives its steps the GPU that was chosen for them; submitit only knows the first
        return {}
    settings = SlurmSettings.parse(environment().slurm)
    if settings is None:
        raise JobError("No cluster is set up here: set DERMDEMO_SLURM, or run the job on this machine.")
    found: dict[str, object] = {"nodes": settings.nodes, "cpus_per_task": settings.cpus, "slurm_use_srun": False}
    if settings.gpus:
        found["gpus_per_node"] = settings.gpus
    if settings.partition:
        found["slurm_partition"] = settings.partition
    return found


def main(argv: list[str]) -> int:
    """Submit; a failure becomes the end of the attempt."""
    folder, attempt = JobFolder(Path(argv[0])), int(argv[1])
    try:
        submit(folder, attempt)
    except (DermdemoError, OSError, RuntimeError, ValueError, submitit.core.utils.FailedJobError) as error:
        folder.write("failed", attempt=attempt, reason=f"It could not be started: {str(error)[:400]}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
