"""Lets all tests share the modules of tests/support, which importlib mode does not look for beside a test."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))
