"""Settings of every test process."""

from __future__ import annotations

import os

# Before torch and numpy are loaded, and inherited by subprocesses: tiny models gain nothing from a second
# thread, and threads that wait for each other lose tenfold where the cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test may ask the hub for anything.
os.environ["HF_HUB_OFFLINE"] = "1"
