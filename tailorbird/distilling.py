"""One student without a search: what `distill-student` does."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from distill.bag_of_words import bag_of_words_score
from distill.distillation import distil, evaluate
from distill.extra import Extra
from distill.initialization import check_start
from distill.kinds import KINDS
from distill.recipe_file import find_recipe
from distill.sources import check_teacher
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from distill.vocabulary import check_vocabulary
from nas.verdict import Scores
from runs.errors import UserError
from runs.files import content_hash
from runs.folder import open_run
from runs.progress import Progress
from students.bert import load_model
from students.spec import StudentSpec
from tailorbird.distilled_report import REPORT_FILE, write_distilled_report

STUDENT = "student"
"""Folder of the finished checkpoint inside the run folder."""


def distill_one(
    spec: StudentSpec,
    source: str | None,
    data: str | None,
    kind: str | None,
    recipe_name: str,
    initialization: str | None,
    epochs: float | None,
    vocabulary: str,
    extra: Extra,
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
    check_vocabulary(vocabulary)
    recipe = find_recipe(recipe_name)
    if initialization is not None:
        recipe = replace(recipe, initialization=initialization)
    task = load_task(data, progress, kind)
    extra.check(task.kind, task.train.pairs is not None)
    progress.say(f"data: {task.name}, {task.kind}, {task.balance or f'{len(task.train):,} examples'}")
    looked = check_teacher(source, task, recipe, progress)
    recipe.check(spec, looked.layers)
    spec = replace(spec, **asdict(looked.inputs), head=KINDS[task.kind].head_for(task.label_names))
    check_start(recipe.initialization, spec)
    settings = {
        "student": spec.to_json(),
        "teacher": source,
        "data": task.content_hash,
        "recipe": recipe.to_json(),
        "epochs": epochs,
        "vocabulary": vocabulary,
        "extra": extra.content_hash,
        "seed": seed,
    }
    with open_run(output or Path(f"tailorbird-{content_hash(settings)}"), "distillation", settings) as run:

        def taught() -> dict[str, Any]:
            teacher = prepare_teacher(source, task, progress)
            done = distil(
                spec,
                teacher,
                task,
                recipe,
                run.path / STUDENT,
                seed=seed,
                progress=progress,
                epochs=epochs,
                vocabulary=vocabulary,
                extra=extra,
            )
            progress.say("reading the test split: teacher, student and bag-of-words")
            tokenizer, test, longest = teacher.tokenizer(), task.test, teacher.maximum_length
            names = task.label_names
            above = evaluate(teacher.model(), tokenizer, test, longest, task.kind, names)
            below = evaluate(load_model(done.folder), tokenizer, test, longest, task.kind, names)
            words = bag_of_words_score(task, tokenizer=tokenizer)
            scores = Scores(above.metric, above.score, below.score, words)
            return {
                "recipe": recipe.name,
                "steps": done.steps,
                "parameters": spec.parameters(),
                "validation_score": done.validation_score,
                "teacher": {"name": teacher.name, "parameters": teacher.parameters},
                "data": {
                    "name": task.name,
                    "source": task.source,
                    "licence": task.licence,
                    "imbalance": task.imbalance,
                },
                "score": scores.to_json(),
                "scores": {"teacher": dict(above.scores), "student": dict(below.scores)},
            }

        result = run.stage("distilled", taught)
        write_distilled_report(run.path / REPORT_FILE, result, run.path / STUDENT)
        return {**result, "student": str(run.path / STUDENT)}
