"""A process that keeps its large blocks is not given new pages for each of them."""

import platform
import subprocess
import sys

import pytest

COUNTED = """
import resource, sys
import torch
from distill.allocation import keep_large_blocks

if sys.argv[1] == "kept":
    assert keep_large_blocks()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(25_000_000).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(max([faults() for _ in range(20)][15:]))
"""


def faults(how: str) -> int:
    """The most page faults of a step that needs a block of 100 MB, once some have gone by."""
    return int(subprocess.run([sys.executable, "-c", COUNTED, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="told to glibc alone")
def test_a_large_block_is_mapped_once() -> None:
    assert faults("kept") < 100 and faults("as it is") > 1000
