"""Uploaded files: read from the upload folder alone, and deleted soon after.

Gradio names an uploaded file after its content, so two visitors with the same picture share one file.
Deleting it at once would pull it from under a request that still waits its turn; a file is therefore
deleted once it has not been read for `grace` seconds. What is never read at all ages out with
`delete_cache`, and the whole cache goes when the app ends.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from dermdemo.data.images import MAX_BYTES
from dermdemo.errors import ImageError
from dermdemo.ui import text

GRACE_SECONDS = 30.0

log = logging.getLogger(__name__)


class Uploads:
    """The files visitors sent. Thread-safe.

    Args:
        folder: the only folder that is read from or deleted in.
        grace: seconds after the last reading at which a file is deleted.
    """

    def __init__(self, folder: Path, *, grace: float = GRACE_SECONDS) -> None:
        self._folder = folder.resolve()
        self._grace = grace
        self._timers: dict[Path, threading.Timer] = {}
        self._lock = threading.Lock()

    def read(self, path: str | Path) -> bytes:
        """The file's bytes, one more than allowed at most; it will be deleted.

        Raises:
            ImageError: the file is outside the folder, or gone. Reasons: ``missing``, ``unreadable``.
        """
        file = self._inside(path)
        try:
            with file.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except FileNotFoundError as error:
            raise ImageError(text.GONE, reason="missing") from error
        except OSError as error:
            raise ImageError(text.GONE, reason="unreadable") from error
        self._schedule(file)
        return data

    def claim(self, path: str | Path) -> Path:
        """The file itself, for what is too large to be read at once (a zip); it will be deleted.

        Raises:
            ImageError: as `read`.
        """
        file = self._inside(path)
        if not file.is_file():
            raise ImageError(text.GONE, reason="missing")
        self._schedule(file)
        return file

    def forget_all(self) -> None:
        """Delete at once everything that waits to be deleted."""
        with self._lock:
            waiting = list(self._timers)
        for file in waiting:
            self._forget(file)

    def _inside(self, path: str | Path) -> Path:
        file = Path(path).resolve()
        if not file.is_relative_to(self._folder) or file == self._folder:
            raise ImageError(text.GONE, reason="missing")
        return file

    def _schedule(self, file: Path) -> None:
        timer = threading.Timer(self._grace, self._forget, [file])
        timer.daemon = True
        with self._lock:
            earlier = self._timers.get(file)
            self._timers[file] = timer
        if earlier is not None:
            earlier.cancel()
        timer.start()

    def _forget(self, file: Path) -> None:
        """Delete a file and its folder; a newer reading has replaced the timer and deletes it later."""
        with self._lock:
            timer = self._timers.pop(file, None)
        if timer is not None:
            timer.cancel()
        try:
            file.unlink(missing_ok=True)
            if file.parent != self._folder:
                file.parent.rmdir()  # only if empty
        except OSError as error:
            log.debug("An upload's folder stays for now: %s", error)
