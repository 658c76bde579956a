"""Uploaded zips on their way to registration: private files in the state folder, gone after an hour.

A file is written as it comes, so that memory does not depend on its size; one that is broken off, too large,
no zip, or more than the disk can take leaves nothing behind.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool

from dermdemo.data.archives import is_archive
from dermdemo.errors import DataError

MAX_UPLOAD = 4 << 30  # bytes
SPARE_DISK = 1 << 30  # bytes that an upload must leave free
KEEP_SECONDS = 3600.0
BLOCK = 1 << 20
FOLDER = "uploads"
TOKEN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Inbox:
    """Uploads below the state folder `home`; any number of processes may share it."""

    home: Path
    limit: int = MAX_UPLOAD
    keep: float = KEEP_SECONDS

    @property
    def folder(self) -> Path:
        return self.home / FOLDER

    async def receive(self, stream: AsyncIterator[bytes], declared: int | None) -> tuple[str, int]:
        """Write a stream to a file; returns what to ask for it by, and its bytes.

        Args:
            declared: bytes that are said to come, None where that is not said.

        Raises:
            HTTPException: 413, it is larger than `limit`.
            DataError: the disk cannot take it, or it is no zip.
        """
        self._check(declared or 0, declared or 0)
        upload = secrets.token_hex(16)
        path, total = await run_in_threadpool(self._create, upload), 0
        try:
            with path.open("ab") as file:
                block = bytearray()
                async for chunk in stream:
                    block += chunk
                    total += len(chunk)
                    if len(block) >= BLOCK:
                        self._check(total, len(block))
                        await run_in_threadpool(file.write, bytes(block))
                        block.clear()
                self._check(total, len(block))
                await run_in_threadpool(file.write, bytes(block))
            if not await run_in_threadpool(is_archive, path):
                raise DataError("This is no zip. Pack the images, and the table if there is one, into a zip.")
            os.replace(path, self._path(upload))
        finally:
            path.unlink(missing_ok=True)
        timer = threading.Timer(self.keep + 1, self.sweep)
        timer.daemon = True
        timer.start()
        return upload, total

    def find(self, upload: str) -> Path:
        """File of an upload, kept for another while. Raises DataError: no such one, or it is gone."""
        path = self._path(upload)
        try:
            if not TOKEN.fullmatch(upload):
                raise FileNotFoundError
            os.utime(path)
        except FileNotFoundError as error:
            raise DataError("This upload is not there (any more): send the file again.") from error
        return path

    def sweep(self) -> None:
        """Remove what nobody has registered in time, and what a server that was killed left half written."""
        for path in self.folder.glob("*.zip*"):
            try:
                if time.time() - path.stat().st_mtime > self.keep:
                    path.unlink()
            except FileNotFoundError:  # another process was first
                continue

    def _path(self, upload: str) -> Path:
        return self.folder / f"{upload}.zip"

    def _create(self, upload: str) -> Path:
        """An empty file that only this user may read."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(upload).with_suffix(".zip.part")
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        return path

    def _check(self, total: int, coming: int) -> None:
        """Raise unless `total` bytes are allowed and the next `coming` fit on the disk."""
        if total > self.limit:
            raise HTTPException(413, f"An upload may hold {self.limit / 1e9:.2g} GB; this one is larger. Put the "
                                     "data into a folder that data may be registered from (DERMDEMO_DATA).")
        self.home.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.home).free - coming < SPARE_DISK:
            raise DataError("The disk has too little space for this upload: free some, or register a folder.")
