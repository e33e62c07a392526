"""Splits depend on contents alone, keep classes in proportion, and never share a text."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.splits import Row, split_given, split_off, split_single, without_duplicates
from runs.errors import UserError

ROWS = st.lists(
    st.builds(Row, st.text("abcdef ", min_size=1, max_size=4), st.none() | st.sampled_from("xy"), st.integers(0, 2)),
    max_size=80,
)


@given(ROWS, st.randoms())
def test_single_split_ignores_the_order_of_a_file_and_shares_nothing(rows: list[Row], random: object) -> None:
    unique = list(without_duplicates(rows))
    shuffled = unique[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    parts, again = split_single(unique), split_single(shuffled)
    assert [set(part) for part in parts] == [set(part) for part in again]
    contents = [row.content for part in parts for row in part]
    assert sorted(contents, key=str) == sorted({row.content for row in rows}, key=str)


@given(ROWS, st.floats(0.01, 0.99))
def test_split_off_takes_the_share_and_keeps_proportions(rows: list[Row], share: float) -> None:
    unique = without_duplicates(rows)
    taken, rest = split_off(unique, share)
    assert len(taken) == round(len(unique) * share)
    assert len(taken) + len(rest) == len(unique)
    sizes, counts = Counter(row.label for row in unique), Counter(row.label for row in taken)
    for label, size in sizes.items():
        assert abs(counts[label] - size * share) <= 1


def test_a_new_row_moves_hardly_any_other() -> None:
    rows = [Row(f"text {i}", None, i % 2) for i in range(1000)]
    before, _ = split_off(tuple(rows), 0.1)
    after, _ = split_off((Row("new", None, 0), *rows), 0.1)
    assert len(set(before) - set(after)) <= 2


def _rows(names: str, label: int = 0) -> tuple[Row, ...]:
    return tuple(Row(name, None, label) for name in names)


def test_given_splits_lose_what_a_later_split_holds_and_test_stays_as_it_is() -> None:
    train, validation, test = split_given(
        {"train": _rows("abcdd"), "validation": _rows("bcee"), "test": _rows("cff")}, "here"
    )
    assert [row.text for row in test] == ["c", "f", "f"]
    assert [row.text for row in validation] == ["b", "e"]
    assert [row.text for row in train] == ["a", "d"]


def test_missing_test_makes_validation_the_test() -> None:
    train, validation, test = split_given({"train": _rows("abcdefghijklmnopqrst"), "validation": _rows("vwx")}, "here")
    assert [row.text for row in test] == ["v", "w", "x"]
    assert (len(validation), len(train)) == (2, 18)


def test_missing_validation_is_a_tenth_of_train() -> None:
    train, validation, test = split_given({"train": _rows("abcdefghijklmnopqrst"), "test": _rows("vwx")}, "here")
    assert (len(train), len(validation), len(test)) == (18, 2, 3)


def test_train_alone_is_split_like_one_file() -> None:
    train, validation, test = split_given({"train": tuple(Row(str(i), None, 0) for i in range(100))}, "here")
    assert (len(train), len(validation), len(test)) == (70, 10, 20)


def test_no_train_split_is_named() -> None:
    with pytest.raises(UserError, match="here has no train split"):
        split_given({"test": _rows("a")}, "here")
