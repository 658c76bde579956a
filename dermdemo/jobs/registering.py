"""`python -m dermdemo.jobs.registering`: register a data set in a process of its own.

Thousands of images are decoded and compared: in the web server's process that would keep every visitor waiting.
The process ends with whoever started it; what it had begun leaves nothing but a folder that is not looked at.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dermdemo import errors
from dermdemo.errors import DataError, DermdemoError
from dermdemo.evaluation.records import decode, encode
from dermdemo.jobs.data_checks import UnknownLabelsError
from dermdemo.jobs.datasets import Catalogue, Offer
from dermdemo.jobs.processes import die_with_parent
from dermdemo.jobs.registry import Registry
from dermdemo.jobs.worker import step_environment

SHOWN = 2000


def register(catalogue: Catalogue, offer: Offer, *, path: str = "", archive: Path | None = None) -> str:
    """Register what lies at a path of the allow-list, or an uploaded zip; returns the data set's id.

    Raises:
        DermdemoError: as `Catalogue.add` and `add_zip`, of the same class.
        OSError: the disk is full.
        RuntimeError: the process ended without an answer.
    """
    request = {"home": str(catalogue.home), "roots": [str(r) for r in catalogue.roots], "offer": encode(offer),
               "shipped": str(catalogue.registry.shipped), "path": path, "archive": str(archive or "")}
    done = subprocess.run([sys.executable, "-m", "dermdemo.jobs.registering"], input=json.dumps(request), text=True,
                          capture_output=True, env=step_environment(), check=False, preexec_fn=die_with_parent)
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise RuntimeError(f"registering ended with {done.returncode}: {done.stderr[-SHOWN:]}") from error
    if "id" in answer:
        return str(answer["id"])
    raise _error(answer)


def _error(answer: Mapping[str, Any]) -> Exception:
    """The error that a process reported."""
    if answer.get("full"):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if answer.get("labels"):
        return UnknownLabelsError(tuple(answer["labels"]), tuple(answer["classes"]))
    kind = getattr(errors, str(answer.get("kind")), DataError)
    return kind(str(answer["error"])) if issubclass(kind, DermdemoError) else DataError(str(answer["error"]))


def answer_to(request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what is asked; the id, or what went wrong."""
    home = Path(request["home"])
    data = Catalogue(home, tuple(Path(r) for r in request["roots"]), Registry(home, Path(request["shipped"])))
    offer = decode(Offer, request["offer"])
    try:
        archive = request["archive"]
        return {"id": (data.add_zip(Path(archive), offer) if archive else data.add(request["path"], offer)).id}
    except UnknownLabelsError as error:
        return {"error": str(error), "labels": list(error.labels), "classes": list(error.classes)}
    except DermdemoError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return {"error": str(error), "full": True}


def main() -> int:
    """One request on standard input, one answer on standard output."""
    print(json.dumps(answer_to(json.load(sys.stdin))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
