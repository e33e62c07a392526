#!/usr/bin/env python3
"""Do losses of single parts, added up, rank students of one skeleton as full distillation does?

`additive_ranking.py DATA --layers 3 --budget-ms 2` draws members of the space `pruning` that have so many layers and
fill the budget, asks the sum that `--method integer-programming` chooses by and two other proxies, distils each in full
with several seeds, and prints Kendall's τ of each. What `--results` has is not done again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from grid.teaching import machine
from proxy_correlation import CONTENDERS, PROFILE, distilled, room_of, tried
from ranking.correlation import standings

from devices.workload import Workload
from distill.forms import students_inputs
from nas.controllers.pool import Problem, draw_pool
from nas.members import Members
from nas.scoring import Scoring
from profiler.profile import load_profile
from runs.errors import UserError
from runs.files import read_json, write_json_atomic
from runs.progress import Progress
from students.space import space
from students.spec import StudentSpec

RESULTS = Path(__file__).resolve().parent / "results" / "additive_ranking.json"
SPACE = "pruning"
WINDOW = 0.95
"""Share of the budget from which on the upper end of a student's latency lies in it."""

POOL = 20_000
ASKED = ("replaced parts, added up", "refitted start", "30 steps")


def drawn(scoring: Scoring, budget_ms: float, layers: int, count: int) -> list[StudentSpec]:
    """So many members of one depth in the window; they differ in heads and neurons alone."""
    rng = np.random.default_rng(0)
    pool = draw_pool(Problem(scoring.members.space, scoring, budget_ms, POOL, window=WINDOW), count, [], rng)
    deep = np.array([len(spec.layers) == layers for spec in scoring.members.specs(pool.codes)])
    inside = rng.permutation(np.flatnonzero(deep & (scoring(pool.codes)[1] >= WINDOW * budget_ms)))
    if len(inside) < count:
        raise UserError(
            f"only {len(inside)} students of {layers} layers were found between {WINDOW * budget_ms:g} and "
            f"{budget_ms:g} ms: ask for fewer, another number of layers, or another budget."
        )
    return scoring.members.specs(pool.codes[inside[:count]])


def report(found: Mapping[str, Any], seeds: int) -> list[str]:
    """A line for each way to rank, by the divergence from the teacher on validation."""
    every = found["students"]
    truth = -np.array(
        [[one["distilled"][str(seed)]["validation_divergence"] for one in every] for seed in range(seeds)]
    )
    rankings = {name: -np.array([one["tried"][name]["loss"] for one in every]) for name in ASKED}
    rankings["weights"] = np.array([float(StudentSpec.from_json(one["spec"]).parameters()) for one in every])
    one_seed, standing = standings(truth, rankings, ("weights",))
    taus = {"one seed": one_seed} | {name: one.tau for name, one in standing.items()}
    return [f"{name}: τ {tau.mean:.2f} [{tau.low:.2f}, {tau.high:.2f}]" for name, tau in taus.items()]


def main(
    data: Annotated[str, typer.Argument(help="Folder of a task.")],
    layers: Annotated[int, typer.Option(help="Of all students.")] = 3,
    budget_ms: float = 2.0,
    students: int = 16,
    seeds: Annotated[int, typer.Option(help="At least 2: one is held against the others.")] = 2,
    steps: Annotated[int, typer.Option(help="Of a full distillation.")] = 900,
    teacher: Annotated[str | None, typer.Option(help="Default: the embedded one.")] = None,
    profile: Path = PROFILE,
    results: Path = RESULTS,
) -> None:
    """Do what is missing, and print how well each way ranks."""
    if seeds < 2:
        raise UserError(f"--seeds is {seeds}: give at least 2, since one is held against the others.")
    room, progress = room_of(data, teacher, False), Progress()
    asked = {"data": room.task.content_hash, "teacher": room.teacher.content_hash, "layers": layers,
             "budget_ms": budget_ms, "steps": steps, "number": students}  # fmt: skip
    found = dict(read_json(results, "results")) if results.is_file() else {}
    if found.get("asked") != asked:
        like = students_inputs(room.model, room.tokenizer)
        head = room.kind.head_for(room.task.label_names)
        around = (like.vocabulary_size, like.maximum_positions, like.token_types, head)
        members = Members(space(SPACE), *around)
        scoring = Scoring(members, load_profile(profile).predictor, Workload())
        specs = drawn(scoring, budget_ms, layers, students)
        found = {"asked": asked, "task": room.task.name, "space": SPACE, "machine": machine(),
                 "students": [{"spec": spec.to_json(), "tried": {}, "distilled": {}} for spec in specs]}  # fmt: skip
    with progress.task("trying and distilling students", students * (1 + seeds)) as shown:
        for seed in (None, *range(seeds)):
            for one in found["students"]:
                spec = StudentSpec.from_json(one["spec"])
                if seed is None:
                    for name in ASKED:
                        if name not in one["tried"]:
                            one["tried"][name] = tried(room, spec, CONTENDERS[name], Path())
                elif str(seed) not in one["distilled"]:
                    one["distilled"][str(seed)] = distilled(room, spec, seed, steps)
                write_json_atomic(results, found)
                shown.advance()
    for line in report(found, seeds):
        progress.say(line)


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
