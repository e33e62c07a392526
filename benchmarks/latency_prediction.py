"""How far predicted latency is from measured: ours and what others do, on students that no fit has seen.

    python benchmarks/latency_prediction.py --target onnxruntime --target cpu --output latency-prediction

Profiles each target, waits, times held-out students in other processes, profiles one target again, and compares every
contender on what was measured. Each stage goes on where it was; `evaluate` measures nothing and may be repeated.
"""

import json
from pathlib import Path
from typing import Annotated

import typer
from prediction.deadline import LimitedProgress, TimeIsOver
from prediction.measuring import Asked
from prediction.page import write_page
from prediction.results import evaluate_targets
from prediction.schedule import carry_out
from prediction.stages import EVALUATE, STAGES, Plan, works

from runs.errors import UserError
from runs.registry import unknown_name

RESULTS = Path(__file__).parent / "results" / "latency_prediction"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "latency.md"


def chosen_stages(names: list[str]) -> list[str]:
    """Those named, or all; a `UserError` for an unknown one."""
    known = [*STAGES, EVALUATE]
    for name in names:
        if name not in known:
            raise unknown_name("stage", name, known)
    return names or known


def main(
    target: Annotated[list[str], typer.Option(help="what to profile: onnxruntime, cpu, openvino, cuda …; repeatable")],
    output: Annotated[Path, typer.Option(help="folder for profiles and samples")] = Path("latency-prediction"),
    stage: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(STAGES)} or {EVALUATE}; repeatable, all without")
    ] = None,
    again: Annotated[
        list[str] | None, typer.Option(help="a target to profile twice, repeatable; without, the first")
    ] = None,
    effort: Annotated[str, typer.Option(help="of the profiles")] = "standard",
    profile_minutes: Annotated[float | None, typer.Option(help="in place of the effort's own limit", min=1)] = None,
    students: Annotated[int, typer.Option(help="random students held out, beside the named shapes", min=5)] = 640,
    seed: Annotated[int, typer.Option(help="draws the held-out students")] = 2026,
    batch_size: Annotated[list[int] | None, typer.Option(help="repeatable; without, 1")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="repeatable; without, 1 and 2")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="repeatable; without, all that a target has here")] = None,
    wait_minutes: Annotated[float, typer.Option(help="from a profile's end to its held-out students", min=0)] = 30.0,
    again_minutes: Annotated[float, typer.Option(help="from a profile's end to the second one", min=0)] = 60.0,
    minutes: Annotated[float | None, typer.Option(help="stop measuring after so long; call again to go on")] = None,
    results: Annotated[Path, typer.Option(help="folder for the JSON results")] = RESULTS,
    page: Annotated[Path, typer.Option(help="the page made of all results in that folder")] = PAGE,
) -> None:
    """Print one JSON object: by target its bars and whether they are met, or that the time was over."""
    stages = chosen_stages(stage or [])
    asked = Asked(
        effort=effort,
        profile_minutes=profile_minutes,
        students=students,
        seed=seed,
        batch_sizes=tuple(batch_size or (1,)),
        threads=tuple(threads or (1, 2)),
        precisions=tuple(precision or ()),
    )
    plan = Plan(tuple(target), output, asked, tuple(again or target[:1]), wait_minutes, again_minutes)
    progress = LimitedProgress(minutes)
    try:
        carry_out(works(plan, stages, progress), progress)
    except TimeIsOver:
        print(json.dumps({"finished": False}))
        return
    shown = {}
    if EVALUATE in stages:
        found = evaluate_targets(plan.places(), results, progress)
        shown = {name: result["bars"] for name, result in found.items()}
        write_page(results, page)
    print(json.dumps({"finished": True, "bars": shown}, indent=2))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
