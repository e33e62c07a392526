"""Which teacher layers a student layer learns from, by number: every rule that needs no data."""

from collections.abc import Callable, Sequence

from runs.errors import UserError
from runs.registry import Registry, unknown_name

Pairs = tuple[tuple[int, tuple[int, ...]], ...]
"""(student layer, its teacher layers), both counted from 0; the embedding's output is -1."""

EMBEDDING = -1

MATCHINGS: Registry[Callable[[int, int], Pairs]] = Registry("matching")
"""Name → a function of (student layers, teacher layers)."""


def _one_each(teacher_layers: list[int]) -> Pairs:
    return tuple((student, (teacher,)) for student, teacher in enumerate(teacher_layers))


def _within(layer: int, layers: int) -> int:
    # A student may be deeper than its teacher; its surplus layers share the teacher's nearest one.
    return min(max(layer, 0), layers - 1)


@MATCHINGS.register("first")
def first(student: int, teacher: int) -> Pairs:
    """i ← i (first-k)."""
    return _one_each([_within(i, teacher) for i in range(student)])


@MATCHINGS.register("last")
def last(student: int, teacher: int) -> Pairs:
    """i ← i + L_T - L_S (last-k)."""
    return _one_each([_within(i + teacher - student, teacher) for i in range(student)])


@MATCHINGS.register("uniform")
def uniform(student: int, teacher: int) -> Pairs:
    """i ← ⌊(i + 1)·L_T / L_S⌋ - 1: the framework's (i + 1)·⌊L_T / L_S⌋ - 1 where L_S divides L_T.

    Where it does not, that form never reaches the teacher's last layers; this one always ends at the last.
    """
    return _one_each([_within((i + 1) * teacher // student - 1, teacher) for i in range(student)])


@MATCHINGS.register("uniform+last")
def uniform_and_last(student: int, teacher: int) -> Pairs:
    """i ← (⌊i·L_T / L_S⌋, L_T - L_S + i), both at once (KD-NAS; docs/methods.md, second-hand)."""
    return tuple(
        (i, (_within(i * teacher // student, teacher), _within(teacher - student + i, teacher))) for i in range(student)
    )


@MATCHINGS.register("last-layer")
def last_layer(student: int, teacher: int) -> Pairs:
    """The student's last layer ← the teacher's last, nothing else (MiniLM)."""
    return ((student - 1, (teacher - 1,)),)


@MATCHINGS.register("embeddings")
def embeddings(student: int, teacher: int) -> Pairs:
    """The student's embedding output ← the teacher's, and no layer."""
    return ((EMBEDDING, (EMBEDDING,)),)


Matching = str | tuple[int | tuple[int, ...], ...]
"""A rule's name, or a list: for each student layer its teacher layer, or several of them."""


LAYER_MAPS = ("first", "last", "uniform", "uniform+last")
"""Rules that say of every student layer where it comes from; of two layers it is the last."""


def as_matching(
    value: str | Sequence[int | Sequence[int]], what: str = "matching", known: Sequence[str] | None = None
) -> Matching:
    """A rule's name out of `known` (default: all) or a list, checked as far as it can be without a student.

    Raises `UserError` where it is neither; `what` is what errors call it.
    """
    known = MATCHINGS.names() if known is None else known
    if isinstance(value, str):
        if value not in known:
            raise unknown_name(what, value, list(known))
        return value
    listed = []
    for entry in value if isinstance(value, list | tuple) and value else [()]:
        layers = tuple(entry) if isinstance(entry, list | tuple) else (entry,)
        if not layers or any(type(layer) is not int for layer in layers):
            raise UserError(
                f"the {what} {value!r} must be one of {', '.join(known)}, or a list with a teacher layer, or a list of "
                "them, for each layer of the student."
            )
        listed.append(entry if isinstance(entry, int) else layers)
    return tuple(listed)


def layer_pairs(
    matching: Matching, student: int, teacher: int, what: str = "matching", of: str = "the teacher"
) -> Pairs:
    """The pairs of a rule or a list, for so many layers; `UserError` for a list that names a layer that is not there.

    A list has one entry for each student layer from the first on, and may end before the last of them. `what` and `of`
    are what errors call the list and the model whose layers it names.
    """
    if isinstance(matching, str):
        return MATCHINGS[matching](student, teacher)
    if len(matching) > student:
        raise UserError(f"the {what} names layers of {of} for {len(matching)} layers of a student of {student}.")
    pairs = tuple((i, (entry,) if isinstance(entry, int) else entry) for i, entry in enumerate(matching))
    for place, layers in pairs:
        for layer in layers:
            if not 0 <= layer < teacher:
                raise UserError(
                    f"the {what} has layer {layer} of {of} for the student's layer {place}, and {of} has layers 0 to "
                    f"{teacher - 1}."
                )
    return pairs
