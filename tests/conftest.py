"""Settings of every test process."""

from __future__ import annotations

import os

from hypothesis import settings

# Before torch and numpy are loaded, and inherited by subprocesses: tiny models gain nothing from a second
# thread, and threads that wait for each other lose tenfold where the cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # umap-learn would set torch's threads to its own number
# No test may ask the hub for anything.
os.environ["HF_HUB_OFFLINE"] = "1"
# Examples are judged by what they give, not by how long they take on a busy machine.
settings.register_profile("dermdemo", deadline=None, derandomize=os.environ.get("CI") == "true", print_blob=True)
settings.load_profile("dermdemo")
