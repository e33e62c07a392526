"""Contract of every matching, and the published formulas at their own examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.matching import MATCHINGS, as_matching, layer_pairs
from runs.errors import UserError

LAYERED = [name for name in MATCHINGS.names() if name != "embeddings"]


@given(st.sampled_from(LAYERED), st.integers(1, 12), st.integers(1, 12))
def test_every_pair_names_layers_that_exist_and_the_last_layer_is_taught(name: str, student: int, teacher: int) -> None:
    pairs = MATCHINGS[name](student, teacher)
    ours = [layer for layer, _ in pairs]
    assert ours == sorted(set(ours)) and ours[-1] == student - 1
    for _, theirs in pairs:
        assert theirs and all(0 <= layer < teacher for layer in theirs)


@given(st.sampled_from(MATCHINGS.names()), st.integers(1, 12), st.integers(1, 12))
def test_teacher_layers_never_go_backwards(name: str, student: int, teacher: int) -> None:
    for part in zip(*(theirs for _, theirs in MATCHINGS[name](student, teacher)), strict=True):
        assert list(part) == sorted(part)


@pytest.mark.parametrize(
    ("name", "student", "teacher", "expected"),
    [
        ("uniform", 4, 12, [(2,), (5,), (8,), (11,)]),
        ("uniform", 4, 6, [(0,), (2,), (3,), (5,)]),
        ("first", 3, 6, [(0,), (1,), (2,)]),
        ("last", 3, 6, [(3,), (4,), (5,)]),
        ("uniform+last", 3, 6, [(0, 3), (2, 4), (4, 5)]),
        ("last-layer", 3, 6, [(5,)]),
        ("embeddings", 3, 6, [(-1,)]),
    ],
)
def test_formulas(name: str, student: int, teacher: int, expected: list[tuple[int, ...]]) -> None:
    assert [theirs for _, theirs in MATCHINGS[name](student, teacher)] == expected


def test_a_list_says_it_layer_by_layer() -> None:
    assert layer_pairs(as_matching([0, [2, 5]]), 3, 6) == ((0, (0,)), (1, (2, 5)))
    assert layer_pairs("last", 1, 6) == ((0, (5,)),)


@pytest.mark.parametrize(
    ("matching", "complaint"),
    [
        ([0, 6], "has layer 6 of the teacher for the student's layer 1, and the teacher has layers 0 to 5"),
        ([[0, -1]], "has layer -1 of the teacher for the student's layer 0"),
        ([0, 1, 2, 3], "names layers of the teacher for 4 layers of a student of 3"),
    ],
)
def test_a_list_that_names_a_layer_that_is_not_there(matching: list[int | list[int]], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        layer_pairs(as_matching(matching), 3, 6)


def test_a_list_of_something_else() -> None:
    with pytest.raises(UserError, match="or a list with a teacher layer"):
        as_matching([0, []])
    with pytest.raises(UserError, match="or a list with a teacher layer"):
        as_matching([])
    with pytest.raises(UserError, match="unknown matching 'unifrom': use one of uniform, "):
        as_matching("unifrom")
