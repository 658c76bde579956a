"""Settings of every test process."""

from __future__ import annotations

import os

import pytest
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
# Fixtures of every folder; imported now that the threads are set.
pytest_plugins = ("tests.sets",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests first: no process is then left alone with them at the end."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)
