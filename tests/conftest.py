"""Lets all tests share the modules of tests/support, which importlib mode does not look for beside a test."""

import gc
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes with OpenMP threads for every core wait for one another tenfold.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


# Importing makes many objects and no garbage.
gc.disable()


def pytest_collection_finish() -> None:
    """Spare the garbage collector all that importing made: going over it takes as long as many a test.

    Each training by `transformers` collects several times, and each takes a fifth of a second with its modules loaded.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
