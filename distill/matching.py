"""Which teacher layers a student layer learns from, by number: every rule that needs no data."""

from collections.abc import Callable

from runs.registry import Registry

Pairs = tuple[tuple[int, tuple[int, ...]], ...]
"""(student layer, its teacher layers), both counted from 0; the embedding output is no layer."""

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
