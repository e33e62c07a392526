"""The workloads that a profile is for: lengths between two ends, and every batch size, thread count and precision.

With tokens in a causal student's cache they are others altogether, so that a profile has one number of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, get_args

import numpy as np

from devices.workload import Precision, Workload
from runs.errors import UserError

Span = tuple[int, int]
"""Shortest and longest sequence in tokens; equal for a single length."""


@dataclass(frozen=True)
class WorkloadRange:
    """Any length within one of the spans, with any of the batch sizes, threads and precisions.

    Raises `UserError` for an empty list, ends in the wrong order, and numbers that no workload can have.
    """

    sequence_lengths: tuple[Span, ...] = ((128, 128),)
    batch_sizes: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = (1,)
    precisions: tuple[Precision, ...] = ("fp32",)
    earlier_tokens: int = 0
    """In the cache of a causal student, which is all that such a profile is of."""

    def __post_init__(self) -> None:
        for name in ("sequence_lengths", "batch_sizes", "threads", "precisions"):
            values = tuple(dict.fromkeys(getattr(self, name)))
            if not values:
                raise UserError(f"--{name.removesuffix('s').replace('_', '-')} is empty: give at least one.")
            object.__setattr__(self, name, values if name == "precisions" else tuple(sorted(values)))
        for low, high in self.sequence_lengths:
            if low > high:
                raise UserError(f"--sequence-length is {low}-{high}: give the shortest first, as in {high}-{low}.")
        self.corners()

    @classmethod
    def of(cls, workload: Workload) -> "WorkloadRange":
        """This workload alone."""
        length = workload.sequence_length
        spans, earlier = ((length, length),), workload.earlier_tokens
        return cls(spans, (workload.batch_size,), (workload.threads,), (workload.precision,), earlier)

    @property
    def shortest(self) -> int:
        """Tokens of the shortest sequence."""
        return self.sequence_lengths[0][0]

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(high for _, high in self.sequence_lengths)

    @property
    def only(self) -> Workload | None:
        """The workload, where there is one alone."""
        corners = self.corners()
        return corners[0] if len(corners) == 1 else None

    @property
    def key(self) -> str:
        """Short name for tables: `b1-s16..512-t1+2-fp32+int8`; that of the workload where there is one alone."""
        spans = "+".join(str(low) if low == high else f"{low}..{high}" for low, high in self.sequence_lengths)
        batches, threads = ("+".join(map(str, values)) for values in (self.batch_sizes, self.threads))
        after = f"-e{self.earlier_tokens}" if self.earlier_tokens else ""
        return f"b{batches}-s{spans}-t{threads}-{'+'.join(self.precisions)}{after}"

    def settings(self) -> list[tuple[int, int, Precision]]:
        """Every combination of batch size, threads and precision."""
        return list(product(self.batch_sizes, self.threads, self.precisions))

    def corners(self) -> list[Workload]:
        """Every combination at both ends of every span."""
        ends = sorted({end for span in self.sequence_lengths for end in span})
        return [self.workload(setting, end) for setting in self.settings() for end in ends]

    def workload(self, setting: tuple[int, int, Precision], length: int) -> Workload:
        """One of the settings at a length."""
        batch, threads, precision = setting
        return Workload(batch, length, threads, precision, self.earlier_tokens)

    def parts(self) -> "Iterator[WorkloadRange]":
        """One range for each pair of threads and precision."""
        for threads, precision in product(self.threads, self.precisions):
            yield replace(self, threads=(threads,), precisions=(precision,))

    def holds(self, workload: Workload) -> bool:
        """Whether the workload lies inside: batch sizes between the smallest and the largest do."""
        return (
            any(low <= workload.sequence_length <= high for low, high in self.sequence_lengths)
            and self.batch_sizes[0] <= workload.batch_size <= self.batch_sizes[-1]
            and workload.threads in self.threads
            and workload.precision in self.precisions
            and workload.earlier_tokens == self.earlier_tokens
        )

    def length_at(self, share: float, longest: int) -> int:
        """The length at a share in 0–1 of what is allowed up to `longest` tokens, evenly in ratio within a span."""
        spans = [(low, min(high, longest)) for low, high in self.sequence_lengths if low <= longest]
        # A single length weighs as much as a span from some length to three times it.
        weights = np.array([1.0 + np.log(high / low) for low, high in spans])
        ends = np.cumsum(weights) / weights.sum()
        place = min(int(np.searchsorted(ends, share, side="right")), len(spans) - 1)
        low, high = spans[place]
        within = (share - (ends[place] - weights[place] / weights.sum())) / (weights[place] / weights.sum())
        return int(np.clip(np.floor(low * ((high + 1) / low) ** within), low, high))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names; `from_json` is the inverse."""
        # Whatever was stored before there were any is of none.
        later = {"earlier_tokens": self.earlier_tokens} if self.earlier_tokens else {}
        return later | {
            "sequence_lengths": [list(span) for span in self.sequence_lengths],
            "batch_sizes": list(self.batch_sizes),
            "threads": list(self.threads),
            "precisions": list(self.precisions),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "WorkloadRange":
        """Read `to_json`'s form."""
        spans = tuple((low, high) for low, high in value["sequence_lengths"])
        batches, threads, precisions = (tuple(value[name]) for name in ("batch_sizes", "threads", "precisions"))
        return cls(spans, batches, threads, precisions, value.get("earlier_tokens", 0))


def read_span(text: str) -> Span:
    """`128` or `16-512` as people type it; a `UserError` for anything else."""
    ends = text.split("-")
    if len(ends) > 2 or not all(end.strip().isdecimal() for end in ends):
        raise UserError(f"--sequence-length is {text!r}: give a number of tokens, or two ends as in 16-512.")
    return int(ends[0]), int(ends[-1])


def workload_range(
    sequence_lengths: Sequence[str],
    batch_sizes: Sequence[int],
    threads: Sequence[int],
    precisions: Sequence[str],
    earlier_tokens: int = 0,
) -> WorkloadRange:
    """The range that repeated flags name."""
    known = {name: name for name in get_args(Precision)}
    return WorkloadRange(
        tuple(map(read_span, sequence_lengths)),
        tuple(batch_sizes),
        tuple(threads),
        tuple(known.get(name, name) for name in precisions),
        earlier_tokens,
    )
