"""Commands as people start them: in processes of their own, which may be killed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

TORCHRUN = (
    "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0",
    "--local-addr", "127.0.0.1", "--no-python",
)  # fmt: skip
"""Two processes that find each other on this machine."""


def command(name: str, *arguments: object, together: bool = False) -> list[str]:
    """The line that starts a command, or two processes of it."""
    main = name.replace("-", "_") + "_main"
    line = [sys.executable, "-P", "-c", f"from tailorbird.commands import {main} as main; main()", *map(str, arguments)]
    return [sys.executable, *TORCHRUN, *line] if together else line


def start(line: list[str], home: Path, here: Path) -> "subprocess.Popen[str]":
    """A command under way."""
    environment = {**os.environ, "TAILORBIRD_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill(process: "subprocess.Popen[str]") -> None:
    """SIGKILL to a command and all that it started: what torchrun starts would outlive it."""
    for one in (process, *psutil.Process(process.pid).children(recursive=True)):
        one.kill()
    process.communicate()


def finish(line: list[str], home: Path, here: Path) -> tuple[dict[str, Any], float]:
    """What a command that ends well prints, and the seconds it took."""
    begun = time.monotonic()
    out, err = (process := start(line, home, here)).communicate(timeout=600)
    assert process.returncode == 0, err
    return json.loads(out), time.monotonic() - begun


def refused(line: list[str], home: Path, here: Path) -> str:
    """What a command says that ends with exit code 2."""
    out, err = (process := start(line, home, here)).communicate(timeout=600)
    assert process.returncode == 2 and not out and "Traceback" not in err, (out, err)
    return err


def kill_when(pattern: str, line: list[str], home: Path, here: Path) -> None:
    """Start a command and kill it as soon as there is something of that name under `here`."""
    assert not list(here.glob(pattern)), f"{pattern} is there already"
    process = start(line, home, here)
    deadline = time.monotonic() + 300
    while not list(here.glob(pattern)):
        assert process.poll() is None, f"the command ended before {pattern}: {process.communicate()[1]}"
        assert time.monotonic() < deadline, f"no {pattern} in time"
        time.sleep(0.001)
    assert process.poll() is None, f"the command ended with {pattern}"
    kill(process)
