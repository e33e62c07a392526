"""The end of a search: the test split read for the first time, every file checked and timed, the verdict written."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from distill.bag_of_words import bag_of_words_score
from distill.evaluation import evaluate
from export.verify import compare, run_graph, run_model, text_batches
from nas.budget import Budget
from nas.card import CARD_FILE, model_card
from nas.context import Context
from nas.delivery import CHECKPOINT, FILES_TARGET, Delivered, delivered_forms, graph_files
from nas.groundwork import time_items
from nas.verdict import Circumstances, FileFacts, Scores, TeacherFacts, build_verdict, write_verdict
from runs.files import write_bytes_atomic
from students.bert import load_model


def baselines_on_test(context: Context) -> dict[str, Any]:
    """The teacher's and bag-of-words' scores on test, JSON-able."""
    task, teacher = context.ground.task, context.teacher
    context.progress.say("reading the test split: teacher and bag-of-words")
    found = evaluate(teacher.model(), teacher.tokenizer(), task.test, teacher.maximum_length)
    return {"metric": found.metric, "teacher": found.score, "bag_of_words": bag_of_words_score(task)}


def conclude(
    context: Context,
    budget: Budget,
    delivered: Delivered,
    baselines: dict[str, Any],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Score the student on test, check and time its files, and write verdict.json and the model card."""
    context.progress.say(f"{budget.label}: scoring the student on test, checking and timing its files")
    folder, ground, teacher = context.result_folder(budget.label), context.ground, context.teacher
    model, tokenizer = load_model(folder / CHECKPOINT), teacher.tokenizer()
    scored = evaluate(model, tokenizer, ground.task.test, teacher.maximum_length)
    batches = text_batches(tokenizer, ground.task.test.given(), maximum_length=teacher.maximum_length)
    answers, head = list(run_model(model, batches)), delivered.finalist.candidate.spec.head.kind
    forms = delivered_forms(ground.target, budget.workload)
    parities = {file: compare(answers, run_graph(folder / file, batches), head) for file in forms}
    timed = _file_times(context, budget, delivered, forms)
    files = [
        FileFacts(file, (folder / file).stat().st_size, form.precision, timed[file], parities[file].agreement)
        for file, form in forms.items()
    ]
    how = Circumstances(
        ground.target,
        ground.profile.fingerprint,
        ground.scoring.disturbance,
        context.method.name,
        context.effort.name,
        context.settings.seed,
        schedule(context, budget),
        ground.task,
    )
    verdict = build_verdict(
        budget,
        how,
        delivered.finalist.candidate,
        delivered.student,
        TeacherFacts(teacher.name, teacher.licence, teacher.parameters, delivered.teacher.p50_ms),
        Scores(baselines["metric"], baselines["teacher"], scored.score, baselines["bag_of_words"]),
        files,
        parities["student.onnx"],
        seconds,
    )
    write_bytes_atomic(folder / CHECKPOINT / CARD_FILE, model_card(verdict).encode())
    write_verdict(folder, verdict)
    return verdict


def schedule(context: Context, budget: Budget) -> dict[str, float]:
    """What really ran: episodes, candidates over all of them, steps and subset of each mini-distillation, or steps of
    the supernet."""
    searched = context.run.result(f"{budget.label} search")
    assert searched is not None
    found: dict[str, float] = {"episodes": len(searched["episodes"]), "candidates": len(searched["trials"])}
    if context.supernet is not None:
        return {**found, "supernet_steps": context.effort.supernet_steps}
    return {**found, "steps": context.tryout.steps, "subset": context.effort.subset}


def _file_times(context: Context, budget: Budget, delivered: Delivered, names: Iterable[str]) -> dict[str, float]:
    """Milliseconds of each file on ONNX Runtime, by name."""
    if delivered.files_ms:
        return delivered.files_ms
    # A file carries its own precision, so both can share the processes of one workload.
    workload = replace(budget.workload, precision="fp32")
    files = graph_files(context.result_folder(budget.label), names)
    timed = time_items(files, FILES_TARGET, workload, context.settings.seed, context.progress)
    return {name: measurement.p50_ms for name, measurement in timed.items()}
