"""What a search asks of its teacher: students are cut from it, or learn from nothing what it answers."""

from distill.forms import decoder_shape
from distill.kinds import KINDS
from distill.recipe_file import RECIPES
from distill.sources import Looked, check_teacher, find_source
from distill.stock_teachers import stock_type, without_weights
from distill.tasks import Task
from nas.methods import METHODS, Method
from runs.errors import UserError
from runs.progress import Progress
from students.space import SearchSpace
from students.spec import Head, StudentSpec
from students.stock_encoders import STOCK_ENCODERS

UNCUT = "from-random"
"""The recipe of a search whose teacher nothing can be cut from."""


def looked_at(source: str | None, task: Task, method: Method, progress: Progress) -> tuple[str, Looked]:
    """The recipe, and what is known of a teacher: one from which students can be cut, so that it has a shape of ours,
    or of those that write on any, if the method asks no more than that it teaches."""
    folder, name = find_source(source, progress)
    own, recipe = stock_type(folder), method.recipe
    if own is not None and own not in STOCK_ENCODERS:
        if not KINDS[task.kind].causal:
            raise UserError(
                f"the teacher {name} is of type {own!r}, and a search cuts students from bert, "
                f"{', '.join(STOCK_ENCODERS.names())} and students of ours: distill-student --recipe from-random knows "
                "others, for a student of a shape you choose."
            )
        if not method.only_teaches:
            able = ", ".join(one for one in METHODS if METHODS[one].only_teaches)
            raise UserError(
                f"--method {method.name} cuts students from their teacher, and from {name}, of type {own!r}, none can "
                f"be cut: choose one of {able}."
            )
        recipe = UNCUT
        progress.say(f"from a teacher of type {own!r} nothing can be cut: students start from nothing, by {recipe}")
    return recipe, check_teacher(source, task, RECIPES[recipe], progress)


def teacher_shape(teacher: Looked, head: Head) -> StudentSpec:
    """The shape that stands for a teacher that nothing can be cut from."""
    return decoder_shape(without_weights(teacher.folder), head, teacher.inputs)


def require_cuttable(name: str, shape: StudentSpec, members: SearchSpace) -> None:
    """Raise `UserError` for a space whose words are wider than a teacher's."""
    if shape.embedding_width != shape.hidden_width and not members.narrow_words:
        raise UserError(
            f"the teacher {name} has words of {shape.embedding_width} channels under layers of {shape.hidden_width}, "
            f"and no student can be cut from it whose words are as wide as its layers, as in the space {members.name}: "
            "search with --space compact or another whose words are narrower, or give another --teacher."
        )
