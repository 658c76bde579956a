"""Slurm as this package uses it: a few settings, and `squeue` (no accounting is asked for)."""

from __future__ import annotations

import getpass
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, fields

from dermdemo.errors import ConfigError

PARTITION = re.compile(r"[A-Za-z0-9_.-]{0,64}")
SQUEUE_SECONDS = 20
OVER = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE",
        "PREEMPTED", "REVOKED"}


@dataclass(frozen=True, kw_only=True)
class SlurmSettings:
    """Where and with what Slurm runs a job; `gpus` per node, `cpus` per node."""

    partition: str = ""
    gpus: int = 0
    nodes: int = 1
    cpus: int = 2

    def __post_init__(self) -> None:
        if not PARTITION.fullmatch(self.partition):
            raise ConfigError(f"'{self.partition}' is no name of a partition.")
        if not (0 <= self.gpus <= 64 and 1 <= self.nodes <= 64 and 1 <= self.cpus <= 1024):
            raise ConfigError("Slurm needs 0 to 64 gpus, 1 to 64 nodes and 1 to 1024 cpus.")

    @classmethod
    def parse(cls, text: str) -> SlurmSettings | None:
        """Read ``partition=gpu,gpus=1,nodes=1,cpus=8``; None for an empty text. Raises ConfigError."""
        if not text.strip():
            return None
        known = {f.name: f.type for f in fields(cls)}
        values: dict[str, str | int] = {}
        for item in text.split(","):
            key, _, value = item.strip().partition("=")
            if key not in known or (known[key] == "int" and not value.isdigit()):
                raise ConfigError(f"Cannot read '{item}' in DERMDEMO_SLURM: write partition=gpu,gpus=1,nodes=1.")
            values[key] = int(value) if known[key] == "int" else value
        return cls(**values)  # type: ignore[arg-type]


def queued_jobs() -> Mapping[str, str] | None:
    """Ids and names of this user's jobs that are waiting or running; None if Slurm does not answer."""
    command = ["squeue", "--noheader", "--user", getpass.getuser(), "--states=all", "--format=%i|%T|%j"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SQUEUE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    rows = [line.strip().split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2]
    return {key: state for number, state, name in rows if state not in OVER for key in (number, name)}


def cancel(handle: str) -> None:
    """Ask Slurm to end a job; an unknown one, or no answer, is no error."""
    try:
        subprocess.run(["scancel", handle], capture_output=True, timeout=SQUEUE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
