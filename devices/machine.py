"""Facts about the machine a target runs on."""

import os
import platform
from dataclasses import dataclass
from functools import cache

import cpuinfo
import psutil


@dataclass(frozen=True)
class Machine:
    """Processor model, instruction set, logical cores, memory in GiB, operating system and Python version."""

    processor: str
    architecture: str
    cores: int
    memory_gib: float
    system: str
    python: str


@cache
def this_machine() -> Machine:
    """The machine this process runs on; kept, since asking for the processor's name takes a second or more."""
    facts = cpuinfo.get_cpu_info()
    name = facts.get("brand_raw") or platform.processor() or "unknown processor"
    # Cloud machines shorten the name ("AMD EPYC") over generations of very different speed.
    numbers = [f"{key} {facts[key]}" for key in ("family", "model") if key in facts]
    return Machine(
        processor=f"{name} ({', '.join(numbers)})" if numbers else name,
        architecture=platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )
