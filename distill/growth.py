"""How a supernet grows as it learns, as ELM has it: neurons where they are made use of, no heads that are alike.

The whole of it is there from the start; it is the parts that learn which reach further and further into it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.batches import Encoded
from distill.components import principal_components
from distill.head_likeness import distinct_heads
from distill.supernet_lesson import Parts, SupernetLesson, part_of
from runs.errors import UserError
from students.caps import Caps, Table
from students.codes import Codes
from students.leading import ATTENDING, lead_with_heads
from students.model import encoder_of
from students.space import SearchSpace
from students.spec import BottleneckLayer, StudentSpec
from students.supernet import layers_of_part


@dataclass(frozen=True)
class Growth:
    """By which rules a supernet grows. docs/methods.md says which numbers are published: none is confirmed of ELM."""

    dimension: bool = True
    """Whether feed-forwards begin at their narrowest and are widened; else they are as wide as the space has them."""
    heads: bool = True
    """Whether heads that are alike are given up; else there are as many as the space has."""
    share: float = 0.99
    """Of the variance of what a feed-forward's neurons are given, that the components counted hold."""
    bottleneck_share: float = 0.90
    """The same in bottlenecks."""
    alike: float = 0.9
    """Alignment (CKA) with an earlier head above which a head is given up."""
    rounds: int = 10
    """Equal parts of the teaching; at the end of each but the last the supernet grows."""
    widened: float = 0.5
    """Share of a type's layers that a round widens by one step, those with most components."""
    texts: int = 256
    """Of the training data, which components and heads are looked at on."""
    members: int = 1000
    """Drawn to know how many weights they have on average."""
    until: float = 0.5
    """Where no target is given, the share of the way from the narrowest mean to the widest that is gone."""


@dataclass(frozen=True)
class Growing:
    """A supernet that is to grow: by which rules, in which space, and the parts that are there within caps."""

    rules: Growth
    space: SearchSpace
    parts: Callable[[Caps], Parts]
    specs: Callable[[Codes], Sequence[StudentSpec]]
    target: int | None = None
    """Weights of members on average at which it stops; None: as `Growth.until` says."""

    def __post_init__(self) -> None:
        require_growing(self.space)

    def to_json(self) -> dict[str, Any]:
        """All that decides how it grows beside the space."""
        return {**asdict(self.rules), "target": self.target}

    @property
    def first(self) -> Caps:
        """Every head, and as few neurons as there may be, or all where they do not grow."""
        neurons = self.space.choices.ffn
        return self._alike(self._numbers_of_heads()[-1], neurons[0] if self.rules.dimension else neurons[-1])

    @property
    def widest(self) -> Caps:
        """Every head, and all neurons: however it grows, members within it are as fast as the fastest of these."""
        return self._alike(self._numbers_of_heads()[-1], self.space.choices.ffn[-1])

    def _alike(self, heads: int, ffn: int) -> Caps:
        shape = max(self.space.choices.layers), len(self.space.choices.types)
        return Caps(*(tuple((number,) * shape[1] for _ in range(shape[0])) for number in (heads, ffn)))

    def _numbers_of_heads(self) -> list[int]:
        """Those that the hidden width divides into."""
        (hidden,) = self.space.choices.hidden
        return [heads for heads in self.space.choices.heads if hidden % heads == 0] or [self.space.choices.heads[-1]]

    def mean_parameters(self, caps: Caps) -> float:
        """Of random members within the caps."""
        drawn = self.parts(caps).members(self.rules.members, np.random.default_rng(0))
        return float(np.mean([spec.parameters() for spec in drawn]))

    def wanted(self) -> float:
        """Mean number of weights at which it stops to grow."""
        if self.target is not None:
            return float(self.target)
        narrowest = self._alike(self._numbers_of_heads()[-1], self.space.choices.ffn[0])
        least, most = map(self.mean_parameters, (narrowest, self.widest))
        return least + self.rules.until * (most - least)

    def largest(self, caps: Caps, number: int) -> StudentSpec:
        """The deepest member with layers of the `number`-th type alone, each as large as the caps let it be."""
        space = replace(self.space, caps=None)
        code = np.zeros((1, len(space.genes)), dtype=np.int64)
        code[0, 0] = len(space.choices.layers) - 1
        layers = space.layer_view(code)[0]
        if space.choices.types[number].attends:
            layers[:, 0] = np.searchsorted(space.choices.heads, np.array(caps.heads)[:, number])
        layers[:, 2] = np.searchsorted(space.choices.ffn, np.array(caps.ffn)[:, number])
        if space.typed:
            layers[:, -1] = number
        return self.specs(code)[0]

    def widened(self, caps: Caps, components: Sequence[Sequence[int]]) -> Caps:
        """With the feed-forwards of most components [place][type] one step wider, of each type apart."""
        steps = self.space.choices.ffn
        table = np.array(caps.ffn)
        for number in range(table.shape[1]):
            free = [place for place in range(len(table)) if table[place, number] < steps[-1]]
            free.sort(key=lambda place: -components[place][number])
            for place in free[: ceil(self.rules.widened * len(table))]:
                table[place, number] = steps[steps.index(int(table[place, number])) + 1]
        return replace(caps, ffn=_table(table))

    def without_doubles(self, caps: Caps, differ: Sequence[Sequence[int]]) -> Caps:
        """With no more heads than differ [place][type], in a number that the hidden width divides into."""
        numbers, table = self._numbers_of_heads(), np.array(caps.heads)
        for place in np.ndindex(table.shape):
            if count := differ[place[0]][place[1]]:
                fitting = [heads for heads in numbers if heads <= count]
                table[place] = min(int(table[place]), max(fitting, default=numbers[0]))
        return replace(caps, heads=_table(table))


def _table(numbers: Any) -> Table:
    return tuple(tuple(map(int, row)) for row in numbers)


def require_growing(space: SearchSpace) -> None:
    """Raise `UserError` for a space whose layers have no caps of their own."""
    choices = space.choices
    types = {form.type for form in choices.types}
    one_width = len(choices.hidden) == 1 and len(choices.qkv) == 1 and choices.qkv[0].per_head
    if choices.alike or not one_width or len(types) < len(choices.types):
        raise UserError(
            f"a supernet of the space {space.name} cannot grow: its layers must be free to differ, with one hidden "
            "width, heads of one width, and no layer type twice. Choose --space elm-small or elm, or another --method."
        )


def some_texts(encoded: Encoded, count: int, seed: int) -> Encoded:
    """So many of them, drawn by `seed`."""
    drawn = np.random.default_rng(seed).permutation(len(encoded))[:count]
    return encoded.take(np.sort(drawn))


class GrowingLesson(SupernetLesson):
    """A supernet's lesson whose parts reach as far as it has grown; how far follows from the weights at each round.

    What it knows goes into the state, and so into checkpoints.
    """

    heads: Tensor
    ffn: Tensor
    rounds: Tensor
    grown: Tensor

    def __init__(self, *given: Any, growing: Growing, **named: Any) -> None:
        super().__init__(*given, **named)
        self.growing, self._texts, first = growing, list[Encoded](), growing.first
        for name, value in (("heads", first.heads), ("ffn", first.ffn), ("rounds", 0), ("grown", False)):
            self.register_buffer(name, torch.tensor(value))
        self._wanted = growing.wanted()
        self._look_whether_grown()

    def look_at(self, texts: Encoded) -> None:
        """The texts on which components and heads are to be looked at."""
        self._texts = [texts]

    @property
    def caps(self) -> Caps:
        """How far parts reach."""
        return Caps(_table(self.heads.tolist()), _table(self.ffn.tolist()))

    def _students(self, share_done: float) -> Sequence[Any]:
        if int(share_done * self.growing.rules.rounds) > int(self.rounds):
            self.rounds += 1
            self._grow()
        self._parts = self.growing.parts(self.caps)
        return super()._students(share_done)

    def _grow(self) -> None:
        growing, caps = self.growing, self.caps
        types = range(len(growing.space.choices.types))
        parts = [part_of(self.student, growing.largest(caps, number)) for number in types]
        if growing.rules.dimension and not self.grown:
            shares = [
                growing.rules.bottleneck_share if form.type == BottleneckLayer.type else growing.rules.share
                for form in growing.space.choices.types
            ]
            found = [
                _by_layer(principal_components(part, self._texts[0], share))
                for part, share in zip(parts, shares, strict=True)
            ]
            caps = growing.widened(caps, list(zip(*found, strict=True)))
        if growing.rules.heads:
            distinct = [distinct_heads(part, self._texts[0], growing.rules.alike) for part in parts]
            fewer = growing.without_doubles(
                caps, [[len(heads) for heads in place] for place in zip(*distinct, strict=True)]
            )
            for number, part in enumerate(parts):
                self._lead_with(part.config.spec_object, distinct[number], number, fewer)
            caps = fewer
        self.heads.copy_(torch.tensor(caps.heads))
        self.ffn.copy_(torch.tensor(caps.ffn))
        self._look_whether_grown()

    def _lead_with(self, spec: StudentSpec, distinct: Sequence[Sequence[int]], number: int, fewer: Caps) -> None:
        """Where heads of the `number`-th type are given up, let those that differ be the first.

        What the optimizer knows of them stays where it was, and is soon out of date.
        """
        supernet = self.student.config.spec_object
        origins = layers_of_part(spec, supernet, range(len(spec.layers)))
        for place, origin in enumerate(origins):
            if distinct[place] and fewer.heads[place][number] < self.caps.heads[place][number]:
                layer = encoder_of(self.student).layers[origin]
                assert isinstance(layer, ATTENDING)
                lead_with_heads(layer, distinct[place])

    def _look_whether_grown(self) -> None:
        if self.growing.mean_parameters(self.caps) >= self._wanted:
            self.grown.fill_(True)


def _by_layer(components: Mapping[str, int]) -> list[int]:
    """By name of each projection (`layers.3.…`) → of each layer the most."""
    found: dict[int, int] = {}
    for name, count in components.items():
        layer = int(name.split(".")[1])
        found[layer] = max(count, found.get(layer, 0))
    return [found[layer] for layer in sorted(found)]
