"""What a measuring process begins with: little, since each of many waits for it."""

import subprocess
import sys

LOADED = """
import sys
import profiler.worker
from export.form import Form
from export.lowering import graph_bytes
from students.spec import uniform_spec

graph_bytes(uniform_spec(1, 32, 2, 64, vocabulary_size=50, maximum_positions=16), Form())
print([name for name in sys.modules if name.startswith("transformers")])
"""


def test_a_graph_of_a_shape_is_written_without_transformers() -> None:
    """Graphs of shapes are written without its models; checkpoints, and what PyTorch itself runs, need them."""
    found = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
