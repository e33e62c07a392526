"""A supernet on disk: cut from a teacher, taught part by part, and asked what a part of it is worth as it is."""

import shutil
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from distill.classroom import Classroom, classroom
from distill.course import course
from distill.examples import Task
from distill.forms import layers_of
from distill.growth import Growing, GrowingLesson, some_texts
from distill.mini import MiniScore, judged
from distill.numerics import training_device
from distill.recipe import Recipe
from distill.supernet_lesson import Parts, SupernetLesson, part_of
from distill.teachers import Teacher
from distill.trainer import train
from distill.units import Unit, answer_in_numbers, answer_in_unit, learnt_as
from distill.vocabulary import trained_words
from runs.errors import UserError
from runs.files import content_hash, folder_atomic, read_json, remove_leftovers, write_json_atomic
from runs.progress import Progress
from students.caps import Caps, caps_from_json
from students.headed import StudentWithHead
from students.model import StudentPreTrainedModel, build_student, encoder_of, load_student
from students.slicing import best_first, slice_student
from students.spec import StudentSpec
from students.supernet import depth_map, of_one_type, places_of, types_held

SCHEMA = 1
SUPERNET_FILE = "supernet.json"
CHECKPOINT_STEPS = 100


def started(room: Classroom, supernet: StudentSpec) -> StudentPreTrainedModel:
    """The teacher in a supernet's widths, its channels, heads and neurons in the order of their worth.

    Layers of several types at one place all come from the same layer of the teacher.
    """
    source, types = room.student_form, types_held(supernet)
    layer_map = depth_map(places_of(supernet), layers_of(source))
    cuts = [
        slice_student(source, of_one_type(supernet, number), room.importance, layer_map, best_first, rescale=False)
        for number in range(len(types))
    ]
    if len(types) == 1:
        return cuts[0]
    first, names = cuts[0], tuple((cuts[0].config.id2label or {}).values())
    held = build_student(supernet, label_names=names if supernet.head.kind != "none" else None)
    # Embedding and head are the same in all.
    encoder_of(held).embeddings.load_state_dict(encoder_of(first).embeddings.state_dict())
    if isinstance(held, StudentWithHead) and isinstance(first, StudentWithHead):
        held.head.load_state_dict(first.head.state_dict())
    for number, cut in enumerate(cuts):
        for place, layer in enumerate(encoder_of(cut).layers):
            encoder_of(held).layers[place * len(types) + number].load_state_dict(layer.state_dict())
    return held


def teach_supernet(
    teacher: Teacher,
    task: Task,
    parts: Parts,
    recipe: Recipe,
    output: Path,
    *,
    steps: int,
    sampling: str = "sandwich",
    count: int = 3,
    growing: Growing | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Teach `count` parts at each of `steps` steps by a recipe's terms, and leave the supernet in `output`.

    With `growing` its parts reach further as it learns (`distill.growth`), in the end as far as `caps_of` says.

    It starts from the teacher, and learns from the texts without copies. Goes on from a killed run's checkpoints, kept
    beside `output`; what is finished is not taught again. Raises `UserError` where `output` is another supernet, and
    for a recipe that moves words.
    """
    progress = progress or Progress(quiet=True)
    recipe = replace(recipe, augment=0)
    if recipe.optimization.adversarial:
        raise UserError(f"the recipe {recipe.name!r} moves words, which a supernet cannot: take away `adversarial`.")
    made_of = [parts.name, parts.supernet.to_json(), parts.smallest.to_json(), teacher.content_hash, task.content_hash]
    settings = [SCHEMA, *made_of, recipe.to_json(), steps, sampling, count, seed, *learnt_as(task)]
    if growing is not None:
        settings.append(growing.to_json())
    identity, work = content_hash(settings, 16), output.with_name(f".{output.name}.training")
    remove_leftovers(output)
    if (output / SUPERNET_FILE).is_file():
        if read_json(output / SUPERNET_FILE, "supernet's record")["identity"] != identity:
            raise UserError(f"{output} holds a supernet made with other settings: choose another output folder.")
        shutil.rmtree(work, ignore_errors=True)
        return
    room = classroom(teacher, task)
    room.progress = progress
    taken = course(room, recipe, seed, steps=steps)
    room.ask_teacher()
    supernet = started(room, parts.supernet)
    make = SupernetLesson if growing is None else partial(GrowingLesson, growing=growing)
    lesson = make(
        supernet,
        recipe.terms,
        room.teacher_beside(recipe, taken.logits),
        parts,
        sampling=sampling,
        count=count,
        steps=steps,
        seed=seed,
        kind=task.kind,
    )
    lesson.remembered = room.remembered_always
    batches = room.planned(lesson, taken.encoded, taken.logits, taken.plan, seed, work)
    with trained_words("auto", [supernet, *lesson.teachers], [taken.encoded, room.validation]) as renumber:
        encoded = renumber(taken.encoded)
        if isinstance(lesson, GrowingLesson):
            lesson.look_at(some_texts(encoded, lesson.growing.rules.texts, seed))
        train(
            lesson,
            batches.over(encoded),
            recipe.optimization,
            work,
            label="teaching the supernet",
            progress=progress,
            checkpoint_steps=CHECKPOINT_STEPS,
            seed=seed,
        )
    answer_in_numbers(supernet, room.unit)
    with folder_atomic(output) as folder:
        supernet.cpu().save_pretrained(folder)
        room.tokenizer.save_pretrained(folder)
        about: dict[str, Any] = {"identity": identity, "steps": steps, "sampling": sampling}
        if isinstance(lesson, GrowingLesson):
            about["caps"] = lesson.caps.to_json()
        write_json_atomic(folder / SUPERNET_FILE, about)
    shutil.rmtree(work, ignore_errors=True)


def caps_of(folder: Path) -> Caps | None:
    """How far the parts of a supernet in `folder` reach, where it has grown."""
    caps = read_json(folder / SUPERNET_FILE, "supernet's record").get("caps")
    return None if caps is None else caps_from_json(caps)


@lru_cache(maxsize=1)
def _loaded(folder: Path, identity: str, unit: Unit | None) -> StudentPreTrainedModel:
    supernet = load_student(folder)
    answer_in_unit(supernet, unit)
    torch.nn.Module.to(supernet, training_device())
    return supernet


def judge_part(spec: StudentSpec, folder: Path, teacher: Teacher, task: Task) -> MiniScore:
    """What the part of a supernet that has the shape `spec` is worth on validation, untaught by itself."""
    start = perf_counter()
    identity = str(read_json(folder / SUPERNET_FILE, "supernet's record")["identity"])
    room = classroom(teacher, task)
    supernet = _loaded(folder, identity, room.unit)
    return judged(room, part_of(supernet, spec), start)
