"""What a measuring process begins with: little, since each of many waits for it."""

import subprocess
import sys

LOADED = (
    "import sys, profiler.worker; print([name for name in sys.modules if name.partition('.')[0] == 'transformers'])"
)


def test_a_measuring_process_loads_no_transformers() -> None:
    """Its models take twice as long to load as PyTorch itself, and only a checkpoint needs them."""
    found = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
