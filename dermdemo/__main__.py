"""`python -m dermdemo`.

Unusual here: the process leaves without tearing the interpreter down. Native thread pools (seen with a step of a job,
once: "terminate called without an active exception") can abort in their destructors after all work is done, and
the abort would be taken for the command's own failure.
"""

import atexit
import os
import sys

from dermdemo.cli import main


def leave(code: int) -> None:
    """End now with `code`, after what was registered to run at exit."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        status = main()
    except SystemExit as end:  # wrong usage, help
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
        status = 1 if isinstance(end.code, str) else int(end.code or 0)
    leave(status)
