"""Entities out of words' labels, and how many of them were found."""

from collections.abc import Sequence

Entity = tuple[int, int, str]
"""(first word, word after the last, what it is)."""


def entities(labels: Sequence[str]) -> set[Entity]:
    """Entities of one text by its words' labels: B-x begins one, I-x goes on with one of x, or begins one; O is none.

    Labels without a prefix are entities of one word each, whatever they are, but for O: F1 is then that of words.
    """
    found: set[Entity] = set()
    start, kind = 0, ""
    for place, label in enumerate([*labels, "O"]):
        prefix, dash, name = label.partition("-")
        plain = not (dash and prefix in ("B", "I"))
        goes_on = not plain and prefix == "I" and name == kind
        if kind and not goes_on:
            found.add((start, place, kind))
            kind = ""
        if plain and label != "O":
            found.add((place, place + 1, label))
        elif not plain and not goes_on:
            start, kind = place, name
    return found


def entity_f1(found: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> float:
    """Micro F1 of entities over all texts, one right if both ends and kind are (CoNLL); 1 where there are none."""
    hits = said = there = 0
    for ours, theirs in zip(found, wanted, strict=True):
        here, right = entities(ours), entities(theirs)
        hits, said, there = hits + len(here & right), said + len(here), there + len(right)
    return 2 * hits / (said + there) if said + there else 1.0
