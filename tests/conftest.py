"""Lets all tests share the modules of tests/support, which importlib mode does not look for beside a test."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes with OpenMP threads for every core wait for one another tenfold.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
