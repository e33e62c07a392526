#!/usr/bin/env python3
"""How many samples a second a student is taught: ours beside a Trainer that asks its teacher each step, and TextBrewer.

All contenders have the same student, the same start, the same batches in the same order, padded to their longest text,
the same loss (softened answers) and the same number of threads. They take turns, each in a process of its own.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch
import typer
from grid.cells import LARGE, SMALL, Shape
from grid.teaching import spec_of
from speed.clock import write_batches
from speed.ours_worker import SEED, SETTINGS_FILE, room_of

import devices.targets  # noqa: F401  (fills the registry)
from devices.fingerprint import fingerprint
from devices.target import open_target
from distill.batches import plan_batches
from distill.evaluation import answer
from distill.numerics import bf16_helps
from distill.recipe_file import RECIPES
from export.lowering import LOWERING_VERSION
from runs.errors import UserError
from runs.files import read_json, write_json_atomic
from runs.progress import Progress
from students.bert import bert_from_student
from students.model import StudentPreTrainedModel

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "distillation_speed.json"
PAIRS = (("minilm", LARGE), ("minilm", SMALL), ("mpnet", LARGE))
BARS = {
    ("minilm-4x312", "trainer"): 1.3,
    ("minilm-2x192", "trainer"): 3.0,
    ("mpnet-4x312", "trainer"): 4.0,
    ("minilm-4x312", "textbrewer"): 1.3,
    ("minilm-2x192", "textbrewer"): 1.3,
    ("mpnet-4x312", "textbrewer"): 1.3,
}
"""(pair, rival) → how many times the rival's rate is aimed at; TextBrewer stands with the best of its settings."""


def lay_out(folder: Path, data: str, teacher: str | None, shape: Shape, steps: int, threads: int) -> dict[str, Any]:
    """Everything that the contenders share: teacher and student as stock checkpoints, batches, settings.

    Returns what stands beside the rates: the task, the teacher, and how many texts a second it answers for the store.
    """
    torch.set_num_threads(threads)
    room, recipe = room_of(data, teacher), RECIPES["default"]
    spec = spec_of(room, shape)
    folder.mkdir(parents=True, exist_ok=True)
    model: Any = room.model
    stock = bert_from_student(model) if isinstance(model, StudentPreTrainedModel) else model
    stock.save_pretrained(folder / "teacher")
    bert_from_student(room.start(spec, recipe, SEED)).save_pretrained(folder / "student")
    plan = plan_batches(room.train.lengths, recipe.optimization.batch_size, steps, SEED)
    write_batches(folder, [room.train.batch(part) for part in plan])
    settings = {"data": data, "teacher": teacher, "steps": steps, "spec": spec.to_json()}
    write_json_atomic(folder / SETTINGS_FILE, settings)
    start = perf_counter()
    answer(room.model, room.train, room.task.kind, mixed=True)
    asking = len(room.train) / (perf_counter() - start)
    # The answers are stored once, whoever comes first.
    _ = room.train_logits
    return {"task": room.task.name, "teacher": room.teacher.name, "answers_per_second": round(asking, 1)}


def contenders(folder: Path, threads: int, warmup: int, textbrewer: Path | None) -> dict[str, list[str]]:
    """Name → command."""
    mixed = "bf16" if bf16_helps(torch.device("cpu")) else "fp32"
    common = [str(folder), str(threads), str(warmup)]
    temperature = str(RECIPES["default"].terms[0].temperature)
    workers, python = HERE / "speed", sys.executable
    found = {
        "ours": [python, str(workers / "ours_worker.py"), *common, "data"],
        "ours-all-words": [python, str(workers / "ours_worker.py"), *common, "all"],
        "trainer": [python, str(workers / "trainer_worker.py"), *common, temperature, mixed],
        "trainer-fp32": [python, str(workers / "trainer_worker.py"), *common, temperature, "fp32"],
    }
    if textbrewer is not None:
        for cached in ("cached", "asked"):
            for numbers in dict.fromkeys(("fp32", mixed)):
                script = str(workers / "textbrewer_worker.py")
                found[f"textbrewer-{cached}-{numbers}"] = [
                    str(textbrewer), script, *common, temperature, numbers, cached
                ]  # fmt: skip
    return found


def run(command: list[str]) -> dict[str, Any]:
    """A worker's last line; `UserError` with its last words where it fails."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": command[3],
        "PYTHONPATH": str(HERE),
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise UserError(f"{Path(command[1]).name} failed: {done.stderr.strip().splitlines()[-1]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def summary(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Median rates, and the ratio of ours to each contender: paired by round, median with the range over rounds."""
    names = list(rounds[0])
    ratios = {name: [one["ours"] / one[name] for one in rounds] for name in names if name != "ours"}
    noise = np.std([one["ours"] for one in rounds]) / np.mean([one["ours"] for one in rounds])
    return {
        "samples_per_second": {name: round(median(one[name] for one in rounds), 1) for name in names},
        "times_faster": {name: [round(f(found), 3) for f in (median, min, max)] for name, found in ratios.items()},
        "noise_percent": round(100 * float(noise), 1),
        "rounds": rounds,
    }


def main(
    data: Annotated[str, typer.Argument(help="A data folder with one text an example.")],
    mpnet: Annotated[
        str | None, typer.Option(help="Folder of all-mpnet-base-v2; its pair is left out without.")
    ] = None,
    textbrewer_python: Annotated[
        Path | None, typer.Option(help="Interpreter of TextBrewer's environment; left out without.")
    ] = None,
    rounds: int = 5,
    steps: int = 60,
    warmup: int = 12,
    threads: int = 2,
    folder: Annotated[Path, typer.Option(help="Scratch.")] = Path("distillation-speed"),
    results: Path = RESULTS,
) -> None:
    """Time what is missing, and write one JSON object."""
    progress = Progress()
    stored = dict(read_json(results, "results")) if results.is_file() else {}
    settings = {"data": Path(data).name, "steps": steps, "warmup": warmup, "threads": threads}
    if {name: stored.get(name) for name in settings} != settings:
        machine = fingerprint(open_target("cpu"), LOWERING_VERSION).to_json()
        stored = {**settings, "fingerprint": machine, "pairs": {}}
    for teacher, shape in PAIRS:
        name = f"{teacher}-{shape.name}"
        if name in stored["pairs"] or (teacher == "mpnet" and mpnet is None):
            continue
        place = folder / name
        about = lay_out(place, data, mpnet if teacher == "mpnet" else None, shape, steps, threads)
        commands = contenders(place.resolve(), threads, warmup, textbrewer_python)
        found: list[dict[str, float]] = []
        with progress.task(f"timing {name}", rounds * len(commands)) as task:
            for turn in range(rounds):
                one = {}
                for contender in random.Random(turn).sample(list(commands), len(commands)):
                    one[contender] = run(commands[contender])["samples_per_second"]
                    task.advance()
                found.append({contender: one[contender] for contender in commands})
        stored["pairs"][name] = about | summary(found)
        write_json_atomic(results, stored)
        shutil.rmtree(place)
    stored["bars"] = bars(stored["pairs"])
    write_json_atomic(results, stored)
    print(json.dumps({"bars": stored["bars"]}))


def bars(pairs: dict[str, Any]) -> list[dict[str, Any]]:
    """Each bar against the fastest setting of its rival."""
    found = []
    for (pair, rival), wanted in BARS.items():
        faster = {name: ratio for name, ratio in pairs.get(pair, {}).get("times_faster", {}).items()
                  if name.startswith(rival)}  # fmt: skip
        if faster:
            against = min(faster, key=lambda name: faster[name][0])
            ratio = faster[against][0]
            found.append({"pair": pair, "against": against, "wanted": wanted, "ratio": ratio, "met": ratio >= wanted})
    return found


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
