"""Every GPU result that is still missing: contract tests, profiles, prediction errors, taught and searched students.

    benchmarks/gpu.sh --minutes 9 --output gpu-results

Each step writes its result as it ends, and is not repeated; one that the end of the time stops goes on where it was.
Only the standard library is needed to say what else is missing.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from time import monotonic, time
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "latency_prediction"
GRID_RESULTS = ROOT / "benchmarks" / "results" / "distillation_grid_gpu"
SEARCH_RESULTS = ROOT / "benchmarks" / "results" / "search_gpu"
TESTS = ("tests/devices/test_targets_contract.py", "tests/devices/test_targets_precisions.py")
TARGETS = ("cuda", "cuda:graphs")
STAGES = ("profile", "held-out", "evaluate")

PACKAGES = {
    "torch": "torch",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "xgboost": "xgboost (or xgboost-cpu)",
    "transformers": "transformers",
    "safetensors": "safetensors",
    "onnx": "onnx",
    "psutil": "psutil",
    "cpuinfo": "py-cpuinfo",
    "yaml": "pyyaml",
    "jinja2": "jinja2",
    "markupsafe": "markupsafe",
    "plotly": "plotly",
    "rich": "rich",
    "typer": "typer",
    "platformdirs": "platformdirs",
    "filelock": "filelock",
    "pytest": "pytest",
}
"""Module → what installs it."""

GRID_PACKAGES = {"pandas": "pandas", "pyarrow": "pyarrow", "accelerate": "accelerate"}
"""What teaching students needs on top."""

SEARCH_PACKAGES = {
    **GRID_PACKAGES,
    "onnxruntime": "onnxruntime",
    "optuna": "optuna",
    "alembic": "alembic",
    "colorlog": "colorlog",
    "sqlalchemy": "sqlalchemy",
}
"""What searching for them needs on top: finalists are exported and run."""

SEARCHING = {"search": "search_quality.py", "proxies": "proxy_correlation.py"}
"""Scripts that search for students and rank them, by the step and the page that each makes."""

GRID_WORKERS, GRID_THREADS = 4, 2
"""Students that share the GPU: a small one alone leaves most of it idle."""

LEDGER = "gpu.json"
RESERVE_SECONDS = 20.0
"""Between the moment when a step is asked to stop and the end of the slice."""

LEAST_SECONDS = 45.0
"""A step is not begun for less: loading its libraries takes a good part of it."""

ALL_DONE, FAILED, CANNOT_RUN, UNFINISHED = 0, 1, 2, 3
"""Exit codes."""

SHOWN = 2000
"""Characters of the last words of a step that failed."""


@dataclass(frozen=True)
class Step:
    """A command; `limited` ones stop by themselves after `--minutes`, and say so in the JSON that they print."""

    name: str
    command: tuple[str, ...]
    limited: bool = True


@dataclass(frozen=True)
class Outcome:
    """How a step ended: `finished`, `stopped` by the end of the time, or `failed`."""

    state: str
    seconds: float
    ended_at: float
    found: dict[str, Any] = field(default_factory=dict)


def missing_packages(needed: Mapping[str, str]) -> list[str]:
    """What has to be installed first."""
    return [package for module, package in needed.items() if find_spec(module) is None]


def steps(options: argparse.Namespace) -> Iterator[Step]:
    """All of them, in the order of their worth."""
    report = f"--junitxml={options.output.resolve() / 'contract.xml'}"
    tests = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "cuda", report, *TESTS)
    yield Step("contract tests", tests, limited=False)
    for target in options.target or TARGETS:
        for stage in STAGES:
            command = [sys.executable, "benchmarks/latency_prediction.py", "--target", target, "--stage", stage]
            # The host's threads do not matter to a GPU. Waiting would take a slice that others could use.
            command += ["--threads", "1", "--wait-minutes", str(options.wait_minutes)]
            command += ["--effort", options.effort, "--students", str(options.students)]
            command += ["--output", str(options.output.resolve()), "--results", str(options.results.resolve())]
            command += ["--page", str(options.output.resolve() / "latency.md")]
            yield Step(f"{target}: {stage}", tuple(command))
    for one, teacher in product(options.grid, options.teacher):
        yield of_students("grid", "distillation_grid.py", one, teacher, options.grid_results, options, "guideline.md")
    for (kind, script), one, teacher in product(SEARCHING.items(), options.search, options.teacher):
        yield of_students(kind, script, one, teacher, options.search_results / kind, options, f"{kind}.md")


def of_students(
    kind: str, script: str, named: str, teacher: str, results: Path, options: argparse.Namespace, page: str
) -> Step:
    """A script that teaches students of one task under one teacher; `named` is NAME=FOLDER of the task's data."""
    name, place = named.split("=", 1)
    label = f"{name}-{Path(teacher).name}"
    command = [sys.executable, f"benchmarks/{script}", f"{label}={place}", "--teacher", teacher]
    command += ["--workers", str(GRID_WORKERS), "--threads", str(GRID_THREADS)]
    command += ["--results", str(results.resolve()), "--page", str(options.output.resolve() / page)]
    return Step(f"{kind}: {label}", tuple(command))


def carry_out(step: Step, seconds: float, output: Path) -> Outcome:
    """Run one step for at most so long."""
    limit = ("--minutes", str((seconds - RESERVE_SECONDS) / 60)) if step.limited else ()
    began = monotonic()
    try:
        done = subprocess.run(
            [*step.command, *limit], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome("stopped", monotonic() - began, time())
    took = monotonic() - began
    if done.returncode != 0:
        return Outcome("failed", took, time(), {"code": done.returncode, "output": done.stdout[-SHOWN:]})
    found = json.loads(done.stdout) if step.limited else counted(output / "contract.xml")
    return Outcome("finished" if found.get("finished", True) else "stopped", took, time(), found)


def counted(report: Path) -> dict[str, int]:
    """How many tests ran, failed and were skipped, by pytest's own report."""
    suite = next(ElementTree.parse(report).iter("testsuite"))
    return {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}


def work(
    todo: Sequence[Step], end: float, output: Path, kept: dict[str, Any], save: Callable[[], None]
) -> dict[str, str]:
    """Do what `kept` has not as finished, until the moment `end` of the monotonic clock; the state of every step."""
    states = {}
    for step in todo:
        states[step.name] = kept["steps"].get(step.name, {}).get("state", "not begun")
        left = end - monotonic()
        if states[step.name] == "finished" or left < LEAST_SECONDS:
            continue
        print(f"{step.name}: {left / 60:.1f} minutes left", file=sys.stderr)
        outcome = carry_out(step, left, output)
        states[step.name] = outcome.state
        kept["steps"][step.name] = asdict(outcome)
        save()
    return states


def device_facts() -> dict[str, Any]:
    """Which GPU and which PyTorch these results are of."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "capability": f"{properties.major}.{properties.minor}",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(prog="gpu.sh", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9.0, help="end after so long")
    parser.add_argument("--output", type=Path, default=Path("gpu-results"), help="folder for profiles and samples")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the tables as JSON")
    parser.add_argument("--target", action="append", help="repeatable; without: " + ", ".join(TARGETS))
    parser.add_argument("--effort", default="standard", help="of the profiles")
    parser.add_argument("--students", type=int, default=640, help="random students held out")
    parser.add_argument("--wait-minutes", type=float, default=0.0, help="from a profile's end to its held-out students")
    parser.add_argument("--grid", action="append", default=[], help="repeatable; NAME=FOLDER of data to teach students")
    parser.add_argument("--search", action="append", default=[], help="repeatable; NAME=FOLDER of data to search on")
    parser.add_argument("--teacher", action="append", default=[], help="repeatable; folder of a teacher of them")
    parser.add_argument("--grid-results", type=Path, default=GRID_RESULTS, help="folder for what they come to, as JSON")
    parser.add_argument("--search-results", type=Path, default=SEARCH_RESULTS, help="the same of those searched for")
    options = parser.parse_args(arguments)
    if unnamed := [one for one in (*options.grid, *options.search) if "=" not in one]:
        parser.error(f"{unnamed[0]!r} is no data to teach students: give NAME=FOLDER, as in sst2=data/sst2.")
    if (options.grid or options.search) and not options.teacher:
        parser.error("students need a teacher, and nothing is fetched here: name its folder with --teacher.")
    return options


def main(arguments: list[str]) -> int:
    """Do what is missing as long as the time lasts; prints one JSON object and returns the exit code."""
    options = parsed(arguments)
    end = monotonic() + 60 * options.minutes
    of_grid, of_search = GRID_PACKAGES if options.grid else {}, SEARCH_PACKAGES if options.search else {}
    if missing := missing_packages(PACKAGES | of_grid | of_search):
        print(
            f"this Python lacks {', '.join(missing)}: install them, or name a folder of wheels as WHEELS.",
            file=sys.stderr,
        )
        return CANNOT_RUN
    import torch

    from runs.files import read_json, write_json_atomic

    if not torch.cuda.is_available():
        print("PyTorch finds no NVIDIA GPU here: there is nothing to measure.", file=sys.stderr)
        return CANNOT_RUN
    ledger = options.output / LEDGER
    kept = read_json(ledger) if ledger.is_file() else {"device": device_facts(), "steps": {}}
    if kept["device"] != device_facts():
        print(f"{ledger} is of {kept['device']}: name another folder with --output for this machine.", file=sys.stderr)
        return CANNOT_RUN
    states = work(list(steps(options)), end, options.output, kept, lambda: write_json_atomic(ledger, kept))
    print(json.dumps({"device": kept["device"], "steps": states}, indent=2))
    if "failed" in states.values():
        return FAILED
    return ALL_DONE if set(states.values()) == {"finished"} else UNFINISHED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
