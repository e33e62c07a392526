"""One student without a search: what `distill-student` does."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distill.bag_of_words import bag_of_words_score
from distill.checkpoints import load_tokenizer, weights_hash
from distill.distillation import distil, evaluate
from distill.extra import NOTHING, Extra, require_copies
from distill.initialization import check_source, check_start, earlier_model
from distill.kinds import KINDS
from distill.lesson import needs_teacher_inside
from distill.recipe import Recipe
from distill.recipe_file import find_recipe
from distill.sources import check_teacher
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from distill.team import team
from distill.vocabulary import check_vocabulary
from nas.verdict import Scores
from runs.errors import UserError
from runs.files import content_hash
from runs.folder import open_run
from runs.progress import Progress
from students.bert import load_model
from students.spec import StudentSpec
from tailorbird.distilled_report import REPORT_FILE, write_distilled_report

MOST_EPOCHS = 10_000

STUDENT = "student"
"""Folder of the finished checkpoint inside the run folder."""


@dataclass(frozen=True)
class Request:
    """What `distill-student` was asked for; None leaves a thing to the recipe, the teacher or the data."""

    student: StudentSpec
    teacher: str | None = None
    data: str | None = None
    kind: str | None = None
    recipe: str = "default"
    initialization: str | None = None
    epochs: float | None = None
    vocabulary: str = "auto"
    augment: int | None = None
    extra: Extra = NOTHING
    seed: int = 0
    output: Path | None = None


def _recipe_of(asked: Request, kind: str) -> Recipe:
    recipe = find_recipe(asked.recipe)
    if asked.initialization is not None:
        recipe = replace(recipe, initialization=asked.initialization)
    if asked.augment:
        require_copies(kind)
    return recipe if asked.augment is None else replace(recipe, augment=asked.augment)


def distill_one(asked: Request, progress: Progress) -> dict[str, Any]:
    """Distil a student of the shape asked for and read the test split once.

    The same settings continue a run that was killed, or print a finished one. The head and the vocabulary follow the
    data and the teacher, whatever the spec says of them.
    """
    epochs, extra, seed = asked.epochs, asked.extra, asked.seed
    if epochs is not None and not 0 < epochs <= MOST_EPOCHS:
        raise UserError(f"--epochs is {epochs}: it must be above 0 and at most {MOST_EPOCHS:,}.")
    check_vocabulary(asked.vocabulary)
    find_recipe(asked.recipe)
    task = load_task(asked.data, progress, asked.kind)
    recipe = _recipe_of(asked, task.kind)
    check_vocabulary(asked.vocabulary, task.kind)
    extra.check(task.kind, task.train.pairs is not None)
    progress.say(f"data: {task.name}, {task.kind}, {task.balance or f'{len(task.train):,} examples'}")
    looked = check_teacher(asked.teacher, task, recipe, progress)
    recipe.check(asked.student, looked.layers)
    spec = replace(asked.student, **asdict(looked.inputs), head=KINDS[task.kind].head_for(task.label_names))
    check_start(recipe.initialization, spec, looked.cut_from)
    check_source(recipe, spec, looked.layers, load_tokenizer(looked.folder))
    if team().size > 1 and looked.spec is None and (needs_teacher_inside(recipe.terms) or task.kind == "causal-lm"):
        raise UserError(
            f"the teacher {looked.found.name} is run at each step by this recipe, and several processes cannot share "
            "it yet: leave torchrun away, or choose a recipe of logits and labels."
        )
    earlier = earlier_model(recipe.initialization)
    settings = {
        "student": spec.to_json(),
        "teacher": weights_hash(looked.folder),
        "data": task.content_hash,
        "recipe": recipe.to_json(),
        "start": None if earlier is None else weights_hash(earlier),
        "epochs": epochs,
        "vocabulary": asked.vocabulary,
        "extra": extra.content_hash,
        "seed": seed,
    }
    with open_run(asked.output or Path(f"tailorbird-{content_hash(settings)}"), "distillation", settings) as run:

        def taught() -> dict[str, Any]:
            teacher = prepare_teacher(asked.teacher, task, progress)
            done = distil(
                spec,
                teacher,
                task,
                recipe,
                run.path / STUDENT,
                seed=seed,
                progress=progress,
                epochs=epochs,
                vocabulary=asked.vocabulary,
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
