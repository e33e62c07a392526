#!/usr/bin/env python3
"""How well cheap proxies rank students of one latency band, beside full distillation and the plainest of measures.

`proxy_correlation.py trec=DIR … --budget-ms 1.5` draws students, distils each in full with several seeds, asks every
proxy, and writes `docs/benchmarks/proxies.md` from all that is stored in `benchmarks/results/proxy_correlation/`. What
is there is not done again. Another machine can go on: latencies are those of the stored profile `benchmarks/profile`,
and the students of one seed all come from one fitted teacher.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer
from continued import still_to_do
from grid.teaching import as_text, machine, taught, test_split
from named import named_folders
from ranking.page import page
from ranking.population import draw, ranked_from_json
from workers import in_workers

from devices.workload import Workload
from distill.batches import Encoded
from distill.checkpoints import weights_hash
from distill.classroom import Classroom, classroom
from distill.evaluation import Logits, answer
from distill.forms import students_inputs
from distill.recipe_file import RECIPES
from distill.supernet import teach_supernet
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from nas.members import Members
from nas.proxies import PROXIES, Tryout
from nas.schedule import EFFORTS
from nas.scoring import Scoring
from nas.supernet_work import parts_of_space
from predictor.latency import LatencyPredictor
from profiler.folder import PREDICTOR_FILE
from profiler.profile import Profile, load_profile
from runs.errors import UserError
from runs.files import content_hash, read_json, write_bytes_atomic, write_json_atomic
from runs.progress import Progress
from students.space import space
from students.spec import StudentSpec

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "proxy_correlation"
PAGE = HERE.parent / "docs" / "benchmarks" / "proxies.md"
PROFILE = HERE / "profile"
SPACES = ("hybrid", "autotinybert-kd", "autotinybert-mlm")
"""The supernet of the first one holds all that are ranked."""

RECIPE = "default"
SUBSET = EFFORTS["quick"].subset


@dataclass(frozen=True)
class Contender:
    """A proxy and what it is told; `supernet`: its students go on from one."""

    proxy: str
    steps: int = 0
    recipe: str = RECIPE
    supernet: bool = False
    rate: float = 1.0
    """How many times the recipe's learning rate."""


CONTENDERS = {
    "refitted start": Contender("zero-step"),
    "weights x components (W-PCA)": Contender("w-pca"),
    "replaced parts, added up": Contender("replaced-parts"),
    "30 steps": Contender("mini-distillation", 30),
    "120 steps": Contender("mini-distillation", 120),
    "160 steps at 3 times the rate": Contender("mini-distillation", 160, rate=3.0),
    "210 steps at 3 times the rate": Contender("mini-distillation", 210, rate=3.0),
    "120 steps, KD-NAS's loss": Contender("mini-distillation-loss", 120, "kd-nas"),
    "supernet": Contender("supernet", supernet=True),
    "supernet, 30 steps": Contender("mini-distillation", 30, supernet=True),
    "supernet, 160 steps at 3 times the rate": Contender("mini-distillation", 160, supernet=True, rate=3.0),
}
"""What stands at each name among the results: `quick` searches by 30 steps, `standard` by 160 at 3 times the rate."""


@dataclass(frozen=True)
class Job:
    """One student of a task: distilled in full with a `seed`, or tried by a `contender`."""

    task: str
    number: int
    spec: StudentSpec
    seed: int | None = None
    contender: str | None = None

    @property
    def place(self) -> str:
        """Where what it comes to stands among the results."""
        return f"{self.number}/{self._way}"

    @property
    def group(self) -> tuple[str, ...]:
        """Those that are ranked together."""
        return self.task, self._way

    @property
    def _way(self) -> str:
        return str(self.seed) if self.contender is None else self.contender


@dataclass(frozen=True)
class Places:
    """What a worker has to know: data and supernets by task, the teacher, and the length of a full distillation."""

    data: Mapping[str, str]
    supernets: Mapping[str, Path]
    teacher: str | None
    steps: int | None


@lru_cache(maxsize=4)
def room_of(data: str, teacher: str | None, quiet: bool = True) -> Classroom:
    """The classroom of a data folder, its teacher fitted if it is not yet, as `quick` does it."""
    progress = Progress(quiet=quiet)
    task = load_task(data, progress, None)
    return classroom(prepare_teacher(teacher, task, progress, training=EFFORTS["quick"].fitting(task.kind)), task)


@lru_cache(maxsize=4)
def teachers_answers(room: Classroom) -> tuple[Encoded, Logits]:
    """The test split, and what the teacher answers to it."""
    return (test := test_split(room)), answer(room.model, test, room.task.kind)


def work(places: Places, job: Job) -> dict[str, Any]:
    """What a job comes to, in a worker."""
    room = room_of(places.data[job.task], places.teacher)
    weights = {"weights": weights_hash(room.teacher.folder)}
    if job.contender is not None:
        return weights | tried(room, job.spec, CONTENDERS[job.contender], places.supernets[job.task])
    assert job.seed is not None
    return weights | distilled(room, job.spec, job.seed, places.steps)


def distilled(room: Classroom, spec: StudentSpec, seed: int, steps: int | None) -> dict[str, Any]:
    """A student after its full distillation, on both splits."""
    student, taken, seconds = taught(room, spec, RECIPES[RECIPE], seed, steps)
    on_validation = answer(student, room.validation, room.task.kind)
    test, theirs = teachers_answers(room)
    ours = answer(student, test, room.task.kind)
    right = ours.argmax(-1) == test.labels
    return {
        "steps": taken,
        "seconds": round(seconds, 1),
        "validation": float((on_validation.argmax(-1) == room.validation.labels).mean()),
        "validation_divergence": room.judge(on_validation)[1],
        "test": float(right.mean()),
        "test_divergence": room.kind.divergence(ours, theirs, test),
        "right": as_text(right),
    }


def tried(room: Classroom, spec: StudentSpec, how: Contender, supernet: Path) -> dict[str, Any]:
    """What a proxy says of a student, the less the better, and the seconds it took to say it."""
    recipe = RECIPES[how.recipe]
    if how.supernet:
        recipe = replace(recipe, initialization=f"supernet:{supernet}", layer_map="uniform")
    net = supernet if how.supernet else None
    found = PROXIES[how.proxy](spec, Tryout(room.teacher, room.task, recipe, how.steps, SUBSET, 0, net, how.rate))
    return {"loss": found.loss, "seconds": found.seconds, **asdict(how)}


def scorings_of(room: Classroom, predictor: LatencyPredictor) -> dict[str, Scoring]:
    """The spaces that students are drawn from, as students of this teacher, on a machine alone."""
    like = students_inputs(room.model, room.tokenizer)
    head = room.kind.head_for(room.task.label_names)
    around = (like.vocabulary_size, like.maximum_positions, like.token_types, head)
    return {name: Scoring(Members(space(name), *around), predictor, Workload()) for name in SPACES}


@dataclass(frozen=True)
class Question:
    """What is asked of a task, beside its teacher: another answer belongs into another file."""

    profile: str
    budget_ms: float
    students: int
    supernet_steps: int
    steps: int | None


def prepare(results: Path, name: str, places: Places, profile: Profile, question: Question) -> dict[str, Any]:
    """What is there of a task: whom it ranks, and a supernet that holds them, taught if there is none yet.

    Raises `UserError` for results of another teacher or another question.
    """
    room = room_of(places.data[name], places.teacher, False)
    path, net = results / f"{name}.json", places.supernets[name]
    asked = asdict(question) | {"teacher": room.teacher.content_hash}
    scorings = scorings_of(room, profile.predictor)
    members = scorings[SPACES[0]].members
    if path.is_file():
        have = dict(read_json(path, "results"))
    else:
        drawn = draw(scorings, question.budget_ms, question.students, members.supernet)
        have = {
            "asked": asked,
            "teacher_name": room.teacher.name,
            "target": profile.target,
            "machines": {},
            "population": [one.to_json() for one in drawn],
            "supernet": {},
            "distilled": {},
            "tried": {},
        }
        write_json_atomic(path, have)
    for key, value in asked.items():
        if have["asked"][key] != value:
            raise UserError(f"{key} is {have['asked'][key]} in {path} and {value} here: give this task another name.")
    begun = net.exists() or net.with_name(f".{net.name}.training").exists()
    start = perf_counter()
    recipe, progress = RECIPES[RECIPE], Progress()
    teach_supernet(
        room.teacher, room.task, parts_of_space(members), recipe, net, steps=question.supernet_steps, progress=progress
    )
    if not have["supernet"]:
        seconds = None if begun else round(perf_counter() - start, 1)
        have["supernet"] = {"seconds": seconds, "parameters": members.supernet.parameters()}
        write_json_atomic(path, have)
    return have


def jobs_of(name: str, have: Mapping[str, Any], seeds: int) -> Iterator[Job]:
    """All of a task: proxies first, then the students seed after seed."""
    specs = [ranked_from_json(one).spec for one in have["population"]]
    for number, spec in enumerate(specs):
        for contender in CONTENDERS:
            yield Job(name, number, spec, contender=contender)
    for seed in range(seeds):
        for number, spec in enumerate(specs):
            yield Job(name, number, spec, seed=seed)


def kept_in(job: Job) -> str:
    """The part of the results that a job belongs to."""
    return "distilled" if job.contender is None else "tried"


def main(
    tasks: Annotated[list[str], typer.Argument(help="NAME=FOLDER for each task: its data, and what results call it.")],
    profile: Annotated[Path, typer.Option(help="Folder of the profile that says what lies in the band.")] = PROFILE,
    budget_ms: Annotated[float, typer.Option(help="Upper end of the band.")] = 1.5,
    students: int = 30,
    seeds: int = 3,
    teacher: Annotated[str | None, typer.Option(help="Default: the embedded one.")] = None,
    supernet_steps: int = EFFORTS["standard"].supernet_steps,
    steps: Annotated[
        int | None, typer.Option(help="Of a full distillation. Default: as many as the recipe says.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="Begin nothing after so long; the same command goes on.")] = 1e6,
    workers: int = 2,
    threads: Annotated[int, typer.Option(help="Of each worker.")] = 1,
    results: Path = RESULTS,
    page_file: Annotated[Path, typer.Option("--page")] = PAGE,
) -> None:
    """Do what is missing, and write the page from all there is."""
    data = named_folders(tasks)
    places = Places(data, {name: results / "supernets" / name for name in data}, teacher, steps)
    found, here = load_profile(profile), machine()
    mark = content_hash((profile / PREDICTOR_FILE).read_text(), 8)
    question = Question(mark, budget_ms, students, supernet_steps, steps)
    results.mkdir(parents=True, exist_ok=True)
    have = {name: prepare(results, name, places, found, question) for name in data}
    jobs = [job for name in data for job in jobs_of(name, have[name], seeds)]
    fitted = {name: weights_hash(room_of(data[name], teacher).teacher.folder) for name in data}

    def stored(job: Job) -> dict[str, Any]:
        found: dict[str, Any] = have[job.task][kept_in(job)]
        return found

    queue = still_to_do(jobs, stored, fitted)
    with Progress().task("distilling and trying students", len(queue)) as shown:

        def keep(job: Job, outcome: dict[str, Any]) -> None:
            have[job.task]["machines"][content_hash(here, 8)] = here
            have[job.task][kept_in(job)][job.place] = {"machine": content_hash(here, 8), **outcome}
            write_json_atomic(results / f"{job.task}.json", have[job.task])
            shown.advance()

        doing = partial(work, places)
        in_workers(iter(queue), doing, keep, workers=workers, threads=threads, minutes=minutes)
    every = {path.stem: dict(read_json(path, "results")) for path in sorted(results.glob("*.json"))}
    write_bytes_atomic(page_file, page(every).encode())
    left = len(still_to_do(jobs, stored, fitted))
    print(json.dumps({"finished": not left, "done": len(queue) - left, "missing": left}))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
