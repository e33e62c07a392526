"""Asking a runtime something in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import runs
from runs.errors import UserError

WORKER = "export.runtimes.worker"

STDERR_SHOWN = 2000
"""Characters of a broken process's last words."""


@dataclass(frozen=True)
class Interpreters:
    """Which Python runs which runtime: this one, unless a runtime lives in an environment of its own."""

    others: Mapping[str, Path] = field(default_factory=dict)
    """Runtime → Python of another environment, of this minor version or a later one, with NumPy in it."""

    def command(self, runtime: str) -> list[str]:
        """The command that starts a worker; -P keeps modules of the user's working folder out."""
        return [str(self.others.get(runtime, sys.executable)), "-P", "-m", WORKER]

    def environment(self, runtime: str) -> dict[str, str]:
        """Where another environment's Python finds our packages: beside `runs`."""
        if runtime not in self.others:
            return dict(os.environ)
        assert runs.__file__
        return {**os.environ, "PYTHONPATH": str(Path(runs.__file__).parent.parent)}


def ask(runtime: str, job: str, interpreters: Interpreters, **details: Any) -> dict[str, Any]:
    """What a fresh process of the runtime answers; `UserError` with its reason, or where the system ended it."""
    line = json.dumps({"job": job, "runtime": runtime, **details}) + "\n"
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as last_words:
        try:
            worker = subprocess.Popen(
                interpreters.command(runtime),
                env=interpreters.environment(runtime),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=last_words,
                text=True,
                encoding="utf-8",
            )
        except OSError as problem:
            raise UserError(f"the Python for the runtime {runtime!r} cannot be started: {problem}.") from None
        assert worker.stdin and worker.stdout
        with worker.stdin, worker.stdout:
            try:
                # Standard input stays open: the process ends when it closes.
                worker.stdin.write(line)
                worker.stdin.flush()
                answered = worker.stdout.readline()
            except BrokenPipeError:
                answered = ""
            except BaseException:
                worker.kill()
                raise
            code = worker.wait()
        if code < 0:
            raise UserError(f"the runtime {runtime!r} broke down (signal {-code}) at the job {job!r}: leave it out.")
        if code or not answered:
            last_words.seek(0)
            raise RuntimeError(f"a process of {runtime} failed:\n{last_words.read()[-STDERR_SHOWN:]}")
    result: dict[str, Any] = json.loads(answered)
    if "error" in result:
        raise UserError(result["error"])
    return result
