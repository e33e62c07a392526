"""One student without a search: what `distill-student` does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from distill.bag_of_words import bag_of_words_score
from distill.batches import steps_per_epoch
from distill.distillation import distil, evaluate
from distill.initialization import check_start
from distill.recipe import RECIPES
from distill.tasks import load_task
from distill.teachers import find_source, prepare_teacher
from nas.verdict import Scores
from runs.errors import UserError
from runs.files import content_hash
from runs.folder import open_run
from runs.progress import Progress
from students.bert import load_model
from students.spec import Head, StudentSpec

STUDENT = "student"
"""Folder of the finished checkpoint inside the run folder."""


def distill_one(
    spec: StudentSpec,
    source: str | None,
    data: str | None,
    recipe_name: str,
    epochs: float | None,
    seed: int,
    output: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """Distil a student of `spec`'s shape and read the test split once.

    The same settings continue a run that was killed, or print a finished one. The head and the vocabulary follow the
    data and the teacher, whatever `spec` says of them.
    """
    if epochs is not None and not 0 < epochs < float("inf"):
        raise UserError(f"--epochs is {epochs}: it must be above 0.")
    recipe = RECIPES[recipe_name]
    check_start(recipe.initialization, spec)
    task = load_task(data, progress)
    theirs = load_model(find_source(source, progress)[0]).config.spec_object
    spec = replace(
        spec,
        vocabulary_size=theirs.vocabulary_size,
        maximum_positions=theirs.maximum_positions,
        token_types=theirs.token_types,
        head=Head("classification", len(task.label_names)),
    )
    settings = {
        "student": spec.to_json(),
        "teacher": source,
        "data": task.content_hash,
        "recipe": recipe.to_json(),
        "epochs": epochs,
        "seed": seed,
    }
    folder = output or Path(f"tailorbird-{content_hash(settings)}")
    with open_run(folder, "distillation", settings) as run:

        def taught() -> dict[str, Any]:
            teacher = prepare_teacher(source, task, progress)
            an_epoch = steps_per_epoch(len(task.train), recipe.optimization.batch_size)
            steps = None if epochs is None else max(1, round(epochs * an_epoch))
            done = distil(spec, teacher, task, recipe, run.path / STUDENT, seed=seed, progress=progress, steps=steps)
            progress.say("reading the test split: teacher, student and bag-of-words")
            tokenizer, test, longest = teacher.tokenizer(), task.test, teacher.maximum_length
            above = evaluate(teacher.model(), tokenizer, test, longest)
            below = evaluate(load_model(done.folder), tokenizer, test, longest)
            scores = Scores(above.metric, above.score, below.score, bag_of_words_score(task))
            return {
                "recipe": recipe_name,
                "steps": done.steps,
                "parameters": spec.parameters(),
                "validation_score": done.validation_score,
                "teacher": {"name": teacher.name, "parameters": teacher.parameters},
                "data": {"name": task.name, "source": task.source, "licence": task.licence},
                "score": scores.to_json(),
            }

        return {**run.stage("distilled", taught), "student": str(run.path / STUDENT)}
