"""How many students a second a search can score: encoded students in, milliseconds out, XGBoost in between.

    python benchmarks/scoring.py PROFILE_DIR

Draws members of a space as integer codes, and times the way that a search takes from codes to milliseconds, as a whole
and stage by stage, on all cores. What it says is compared with the predictor's slow way over specs.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated, Any, cast

import numpy as np
import numpy.typing as npt
import typer

from devices.affinity import usable_cores
from devices.machine import this_machine
from devices.workload import Precision, Workload
from nas.members import Members
from nas.scoring import Scoring
from predictor.compiled import CompiledPredictor, in_chunks
from profiler.folder import load_profile
from runs.errors import UserError
from runs.files import write_json_atomic
from students.codes import Codes
from students.space import space
from students.spec import Head

VOCABULARY, POSITIONS, TOKEN_TYPES = 30522, 512, 2
COMPARED = 20_000
"""Students that are also predicted the slow way."""

Stage = Callable[[], object]


def per_second(stage: Stage, students: int, repeats: int) -> dict[str, Any]:
    """Students a second: the median over repeats, and each; one run before is thrown away."""
    rates = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        stage()
        rates.append(students / (time.perf_counter() - start))
    return {"students_per_second": round(median(rates[1:])), "repeats": [round(rate) for rate in rates[1:]]}


def stages(scoring: Scoring, codes: Codes, repeats: int) -> dict[str, Any]:
    """Rates of the whole way and of each part of it on its own, and of what a search does beside scoring."""
    members, count = scoring.members, len(codes)
    compiled = CompiledPredictor.of(scoring.predictor, members.blocks, scoring.workload)
    index = members.table(codes).index
    totals = compiled.totals(index)
    rng = np.random.default_rng(1)

    def in_parts(part: Callable[[slice], npt.NDArray[Any]]) -> Stage:
        """The part alone: a column of what it makes stands for all of it."""

        def first_column(rows: slice) -> npt.NDArray[Any]:
            made = part(rows)
            return made if made.ndim == 1 else made[:, 0]

        return lambda: in_chunks(first_column, count)

    timed: dict[str, Stage] = {
        "codes to milliseconds": lambda: scoring.latency_ms(codes),
        "codes to milliseconds and interval": lambda: scoring(codes),
        "part: codes to blocks": in_parts(lambda rows: members.table(codes[rows]).index),
        "part: blocks to totals": in_parts(lambda rows: compiled.totals(index[rows])),
        "part: totals to milliseconds, trees among them": in_parts(lambda rows: compiled.finish(totals[rows])),
        "beside: drawing codes": lambda: members.space.sample(count, rng),
        "beside: mutating codes": lambda: members.space.mutate(codes, rng, 0.1),
        "beside: crossing codes": lambda: members.space.cross(codes, codes[::-1], rng),
        "beside: telling which codes are valid": lambda: members.space.valid(codes),
        "beside: counting weights": lambda: members.parameters(codes),
    }
    return {name: per_second(stage, count, repeats) for name, stage in timed.items()}


def difference(scoring: Scoring, codes: Codes) -> float:
    """The largest relative difference between what a search sees and what the predictor says of the specs."""
    expected = scoring.predictor.predict(scoring.members.specs(codes), scoring.workload)
    return float(np.abs(scoring.latency_ms(codes) / expected - 1).max())


def main(
    profile: Annotated[Path, typer.Argument(help="folder of a device profile")],
    space_name: Annotated[str, typer.Option("--space", help="a space by name, or a YAML file")] = "hybrid",
    students: Annotated[int, typer.Option(min=1)] = 1_000_000,
    repeats: Annotated[int, typer.Option(min=1)] = 7,
    sequence_length: Annotated[int, typer.Option(min=1)] = 128,
    threads: Annotated[int, typer.Option(help="of the workload that is predicted", min=1)] = 1,
    precision: str = "fp32",
    seed: int = 0,
    output: Annotated[Path, typer.Option(help="JSON with everything")] = Path("benchmarks/results/scoring.json"),
) -> None:
    """Write the JSON and print it."""
    found = load_profile(profile)
    workload = Workload(1, sequence_length, threads, cast(Precision, precision))
    members = Members(space(space_name), VOCABULARY, POSITIONS, TOKEN_TYPES, Head())
    scoring = Scoring(members, found.predictor, workload)
    codes = members.space.sample(students, np.random.default_rng(seed))
    booster = found.predictor.model(workload).regressor.law_.booster
    result = {
        "machine": asdict(this_machine()),
        "cores": len(usable_cores()),
        "profile": {"target": found.target, "effort": found.effort, "check": found.check},
        "workload": workload.to_json(),
        "space": space_name,
        "students": students,
        "blocks": len(members.blocks),
        "trees": booster.num_boosted_rounds(),
        "largest_relative_difference": difference(scoring, codes[:COMPARED]),
        "rates": stages(scoring, codes, repeats),
    }
    write_json_atomic(output, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
