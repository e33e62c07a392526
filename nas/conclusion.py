"""The end of a search: the test split read for the first time, every file checked and timed, the verdict written."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from devices.workload import Workload
from distill.bag_of_words import bag_of_words_score
from distill.evaluation import evaluate
from distill.kinds import KINDS
from export.verify import Batch, Parity, compare, run_graph, run_model, text_batches
from nas.budget import Budget
from nas.card import CARD_FILE, model_card
from nas.context import PREPARED, Context
from nas.delivery import FILES_TARGET, Delivered, delivered_forms, graph_files, target_file
from nas.device import time_items
from nas.finalists import Finalist
from nas.full_distillation import distillation_stage
from nas.result_folder import CHECKPOINT, checkpoint_of
from nas.supernet_work import supernet_steps
from nas.use import timed_as, used_as_encoder
from nas.verdict import Circumstances, FileFacts, Scores, TeacherFacts, build_verdict, write_verdict
from runs.files import write_bytes_atomic
from students.bert import load_model
from students.spec import HeadKind

ENCODED_TEXTS, WRITTEN_TEXTS = 200, 20
"""Texts on which encoders and models that write on are compared with their files: every number of every hidden state
is, or every score of every word, so that some texts are enough, and all would fill the memory."""


def most_compared(kind: HeadKind) -> int | None:
    """How many texts of such tasks students and files are compared on; None for all."""
    if used_as_encoder(kind):
        return ENCODED_TEXTS
    return WRITTEN_TEXTS if KINDS[kind].causal else None


def baselines_on_test(context: Context) -> dict[str, Any]:
    """The teacher's and bag-of-words' scores on test, JSON-able."""
    task, teacher = context.ground.task, context.teacher
    context.progress.say("reading the test split: teacher and bag-of-words")
    tokenizer = teacher.tokenizer()
    found = evaluate(teacher.model(), tokenizer, task.test, teacher.maximum_length, task.kind, task.label_names)
    words = bag_of_words_score(task, tokenizer=tokenizer)
    return {"metric": found.metric, "teacher": found.score, "bag_of_words": words}


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
    task, longest, tokenizer = ground.task, teacher.maximum_length, teacher.tokenizer()
    scored = evaluate(load_model(folder / CHECKPOINT), tokenizer, task.test, longest, task.kind, task.label_names)
    forms = delivered_forms(ground.target, budget.workload)
    texts = task.test.given()
    most = most_compared(task.kind)
    if most is not None:
        texts = texts[:: -(-len(texts) // most)]
    # Those of like length share a batch, which is then filled up with little.
    texts = sorted(texts, key=lambda text: len("".join(text)))
    parities = _parities(folder, forms, text_batches(tokenizer, texts, maximum_length=longest))
    timed = delivered.files_ms or _file_times(context, budget, budget.workload, forms)
    first = {}
    if earlier := budget.workload.earlier_tokens:
        # As many tokens as the cache holds when the next is timed, read at once.
        reading = replace(budget.workload, sequence_length=earlier, earlier_tokens=0)
        first = _file_times(context, budget, reading, forms)
    files = [
        FileFacts(
            file,
            (folder / file).stat().st_size,
            form.precision,
            timed[file],
            delivered.memory_bytes[file],
            parities[file].agreement,
            first.get(file),
        )
        for file, form in forms.items()
    ]
    how = Circumstances(
        ground.target,
        ground.profile.fingerprint,
        ground.scoring(budget).disturbance,
        context.method.name,
        context.effort.name,
        context.settings.seed,
        schedule(context, budget, delivered.finalist),
        task,
        ground.scoring(budget).limits,
        target_file(ground.target, budget.workload),
    )
    verdict = build_verdict(
        budget,
        how,
        delivered.finalist.candidate,
        delivered.student,
        delivered.discarded_ms,
        TeacherFacts(
            teacher.name,
            teacher.licence,
            teacher.parameters,
            delivered.teacher.p50_ms,
            timed_as(teacher.folder, task.kind),
        ),
        Scores(baselines["metric"], baselines["teacher"], scored.score, baselines["bag_of_words"]),
        files,
        parities["student.onnx"],
        seconds,
    )
    write_bytes_atomic(folder / CHECKPOINT / CARD_FILE, model_card(verdict).encode())
    write_verdict(folder, verdict)
    return verdict


def _parities(folder: Path, files: Iterable[str], batches: Sequence[Batch]) -> dict[str, Parity]:
    """By name, how each file of a result folder answers beside the checkpoint that it was made of."""
    model = load_model(checkpoint_of(folder))
    answers, head = list(run_model(model, batches)), model.config.spec_object.head.kind
    masks = [batch["attention_mask"] for batch in batches]
    return {file: compare(answers, run_graph(folder / file, batches), head, masks) for file in files}


def schedule(context: Context, budget: Budget, finalist: Finalist) -> dict[str, float]:
    """What really ran: episodes, candidates over all of them; steps and subset of each mini-distillation, and how many
    times its recipe's learning rate it had, where that is not once; steps of a supernet; parts that were replaced;
    steps of a full distillation; how many candidates of earlier searches it learnt from; the steps that a student which
    was cut was taught on for.
    """
    searched = context.run.result(f"{budget.label} search")
    assert searched is not None
    found: dict[str, float] = {
        "episodes": len(searched["episodes"]),
        "candidates": len(searched["trials"]),
    }
    taught = context.run.result(distillation_stage(budget, finalist))
    assert taught is not None
    if finalist.cut_from is None:
        found["final_steps"] = taught["steps"]
    else:
        found |= {"final_steps": context.full_steps(budget), "cut_steps": taught["steps"]}
    if context.supernet is not None:
        found["supernet_steps"] = supernet_steps(context.method, context.effort)
    if parts := (context.run.result(PREPARED) or {}).get("parts"):
        found["parts"] = parts
    if learnt := sum(len(trials.rewards) for trials in context.ground.earlier_trials):
        found["learnt_from"] = learnt
    if context.method.teaches:
        tryout = context.tryout
        found |= {"steps": tryout.steps, "subset": tryout.subset}
        if tryout.rate != 1.0:
            found["rate"] = tryout.rate
    return found


def _file_times(context: Context, budget: Budget, workload: Workload, names: Iterable[str]) -> dict[str, float]:
    """Milliseconds of each file on ONNX Runtime, by name."""
    # A file carries its own precision, so that all can share the processes of one workload.
    workload = replace(workload, precision="fp32")
    files = graph_files(context.result_folder(budget.label), names)
    timed = time_items(files, FILES_TARGET, workload, context.settings.seed, context.progress)
    return {name: measurement.p50_ms for name, measurement in timed.items()}
