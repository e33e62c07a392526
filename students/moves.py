"""Steps through a space: mutation, crossover, its smallest members, and the neighbours one step smaller."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from students.codes import COMMON_GENES, LAYER_GENES, Codes, CodeSpace

SMALLEST_WIDTHS = 2
"""How many of the narrowest hidden widths count as extremes: the very narrowest is not always the fastest."""


@dataclass(frozen=True)
class VariedSpace(CodeSpace):
    """A code space with the moves of evolutionary searches; whatever a move returns is valid."""

    def mutate(self, codes: Codes, rng: np.random.Generator, rate: float) -> Codes:
        """Change each gene with probability `rate`, half the time by one step, half the time to anything.

        A layer that comes in through greater depth starts as a copy of the one below it, and heads that the new
        hidden width forbids are drawn again.
        """
        counts = np.array(self.cardinalities)
        steps = np.clip(codes + rng.choice([-1, 1], size=codes.shape), 0, counts - 1)
        fresh = np.where(rng.random(codes.shape) < 0.5, steps, rng.integers(counts, size=codes.shape))
        if self.typed:
            # Types have no order to step in, and weights.
            self.layer_view(fresh)[..., -1] = self.draw_types((len(codes), self.slots), rng)
        filled = self._fill(codes, rng)
        mutated = np.where(rng.random(codes.shape) < rate, fresh, filled)
        # A neighbour's step must start from the layer that is copied up, not from the 0 of an empty slot.
        mutated[:, len(self.common_genes) :] = np.where(
            np.repeat(self.used(codes), len(self.layer_genes), axis=1),
            mutated[:, len(self.common_genes) :],
            filled[:, len(self.common_genes) :],
        )
        return self._repair(mutated, rng)

    def step(self, codes: Codes, rng: np.random.Generator) -> Codes:
        """Small steps of a few genes at once: AutoTinyBERT's mutation (docs/methods.md), where layers are all alike.

        Of each member the depth changes by 1 with probability 0.25, the hidden width by 1 place with 0.5, the
        feed-forward by up to 2 with 0.5, and heads or queries by up to 2 with 0.25. Where layers differ such a step is
        taken by one of them or, half the time, by all (ours). Activations stay; a type is drawn again with 0.25, and
        embedding and sharing change by 1 place with 0.25 (ours).
        """
        stepped = self._fill(codes, rng)
        shared, layers = stepped[:, : len(self.common_genes)], self.layer_view(stepped)
        n = len(codes)

        def drawn(chance: float, most: int) -> npt.NDArray[np.int64]:
            """Steps [n] of 1 to `most` up or down, 0 where there is none."""
            sizes = rng.integers(1, most + 1, size=n) * rng.choice([-1, 1], size=n)
            return np.where(rng.random(n) < chance, sizes, 0)

        shared[:, 0] += drawn(0.25, 1)
        shared[:, 1] += drawn(0.5, 1)
        for place in range(len(COMMON_GENES), len(self.common_genes)):
            stepped[:, place] += drawn(0.25, 1)
        chosen = rng.integers(0, self.used(codes).sum(axis=1))
        if self._in_groups:
            chosen = self.owners(codes)[np.arange(n), chosen]
        one = np.arange(self.slots) == chosen[:, None]
        takes = one | (rng.random(n) < 0.5)[:, None]
        layers[..., 2] += takes * drawn(0.5, 2)[:, None]
        attention = drawn(0.25, 2)[:, None] * takes
        queries = (rng.random(n) < 0.5)[:, None]
        layers[..., 0] += np.where(queries, 0, attention)
        layers[..., 1] += np.where(queries, attention, 0)
        if self.typed:
            again = takes & (rng.random(n) < 0.25)[:, None]
            layers[..., -1] = np.where(again, self.draw_types((n, 1), rng), layers[..., -1])
        return self._repair(np.clip(stepped, 0, np.array(self.cardinalities) - 1), rng)

    def cross(self, a: Codes, b: Codes, rng: np.random.Generator) -> Codes:
        """Children that take each gene from one parent or the other; rows of `a` and `b` are paired."""
        return self._repair(np.where(rng.random(a.shape) < 0.5, self._fill(a, rng), self._fill(b, rng)), rng)

    def _fill(self, codes: Codes, rng: np.random.Generator) -> Codes:
        """Repeat the last layer in the slots beyond the depth, and draw heads and queries for where they are nothing:
        another type may make something of them."""
        last = np.minimum(np.arange(self.slots), self.used(codes).sum(axis=1, keepdims=True) - 1)
        layers = np.take_along_axis(self.layer_view(codes), last[..., None], axis=1)
        if self.typed:
            nothing = ~np.take_along_axis(self.attends(codes), last, axis=1)
            # The same for all of a member, so that layers that are alike stay so.
            drawn = self.draw_pairs(codes[:, 1], rng)[:, None]
            layers[..., :2] = np.where(nothing[..., None], drawn, layers[..., :2])
        return np.concatenate([codes[:, : len(self.common_genes)], layers.reshape(len(codes), -1)], axis=1)

    def _repair(self, codes: Codes, rng: np.random.Generator) -> Codes:
        """Draw again what the hidden width forbids, and empty what has no meaning."""
        codes = np.ascontiguousarray(codes)
        self._draw_other_common(codes, rng, np.zeros(len(codes), dtype=np.bool_))
        self._group(codes)
        layers, used = self.layer_view(codes), self.used(codes)
        rows, slots = np.nonzero(used & self.attends(codes) & (self.widths(codes) == 0))
        layers[rows, slots, :2] = self.draw_pairs(codes[rows, 1], rng)
        self._group(codes)
        self._let_the_last_attend(codes, rng)
        self._confine(codes, rng)
        layers[~used] = 0
        layers[~self.attends(codes), :2] = 0
        return codes

    def enumerate_extremes(self) -> Codes:
        """Members of least depth, narrowest hidden widths and feed-forward, of each type, with every kind of attention.

        Together they hold the fastest student of the space on any sensible machine, [n, genes].
        """
        activations, heads, rules = (len(self.choices.activation), len(self.choices.heads), len(self.choices.qkv))
        hidden = min(SMALLEST_WIDTHS, len(self.choices.hidden))
        types = np.arange(len(self.choices.types))
        # Where the last layer must attend, it does so beneath whatever is below it.
        lasts = np.flatnonzero([form.attends for form in self.choices.types]) if self.choices.attention_last else [0]
        # A last layer that shares its weights has others beneath it that must attend too; a deeper one may have fewer.
        depths = len(self.choices.layers) if self._in_groups and self.choices.attention_last else 1
        others = self.cardinalities[len(COMMON_GENES) : len(self.common_genes)]
        sizes = (len(types), hidden, activations, heads, rules, len(lasts), depths, *others)
        grid = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1).reshape(-1, len(sizes))
        codes = np.zeros((len(grid), len(self.genes)), dtype=np.int64)
        codes[:, 1:3] = grid[:, 1:3]
        codes[:, 0] = grid[:, 6]
        codes[:, len(COMMON_GENES) : len(self.common_genes)] = grid[:, 7:]
        layers = self.layer_view(codes)
        layers[:, :, :2] = grid[:, None, 3:5]
        if self.typed:
            layers[:, :, -1] = grid[:, None, 0]
            if self.choices.attention_last:
                last = self.used(codes).sum(axis=1) - 1
                if self._in_groups:
                    last = self.owners(codes)[np.arange(len(codes)), last]
                layers[np.arange(len(codes)), last, -1] = np.asarray(lasts)[grid[:, 5]]
            self._group(codes)
            layers[~self.attends(codes), :2] = 0
        self._confine(codes)
        layers[~self.used(codes)] = 0
        return np.unique(codes[self.valid(codes)], axis=0)

    def trim(self, code: Codes) -> Codes:
        """Every smaller neighbour of one code [genes] or [1, genes]: a layer less, or one width or count a step down.

        [n, genes], without repetition; empty where the code is as small as the space goes with layers of its types.
        """
        code = np.asarray(code, dtype=np.int64).reshape(-1)
        places = [1, *(place for place, gene in enumerate(self.genes) if gene.endswith(LAYER_GENES))]
        smaller = [found for place in places for found in self._step_down(code, place)]
        found = np.array([*self._shallower(code), *smaller], dtype=np.int64).reshape(-1, len(self.genes))
        return np.unique(found[self.valid(found)], axis=0)

    def grow(self, code: Codes) -> Codes:
        """Every neighbour of one code [genes] with more heads of the same width, or more neurons, in one layer.

        In all of them where layers are alike. [n, genes], without repetition; empty where all are as large as the space
        allows. What is there stays as it is: heads of another width would make another student.
        """
        code = np.asarray(code, dtype=np.int64).reshape(-1)
        grown = []
        for slot in np.flatnonzero(self.used(code[None])[0]):
            for gene in ("heads", "ffn"):
                place = len(self.common_genes) + int(slot) * len(self.layer_genes) + LAYER_GENES.index(gene)
                grown += self._step_up(code, place)
        found = np.array(grown, dtype=np.int64).reshape(-1, len(self.genes))
        found = found[(self._head_widths(found) == self._head_widths(code[None])).all(axis=1)]
        return np.unique(found, axis=0)

    def _head_widths(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Channels of a head in each slot [n, slots]; 0 where there is no head."""
        widths: npt.NDArray[np.int64] = (
            self.widths(codes) // np.array(self.choices.heads)[self.layer_view(codes)[..., 0]]
        )
        return np.where(self.used(codes) & self.attends(codes), widths, 0)

    def _step_up(self, code: Codes, place: int) -> list[npt.NDArray[np.int64]]:
        """The nearest valid code with a greater value in one place, if there is one."""
        return self._stepped(code, place, range(int(code[place]) + 1, self.cardinalities[place]))

    def _step_down(self, code: Codes, place: int) -> list[npt.NDArray[np.int64]]:
        """The nearest valid code with a smaller value in one place, if there is one."""
        return self._stepped(code, place, range(int(code[place]) - 1, -1, -1))

    def _stepped(self, code: Codes, place: int, values: Iterable[int]) -> list[npt.NDArray[np.int64]]:
        """The code with the first of the values in one place that makes another valid one, if one does."""
        for value in values:
            other = code.copy()
            other[place] = value
            self._settle(other[None])
            if self.valid(other[None])[0] and (other != code).any():
                return [other]
        return []

    def _settle(self, codes: Codes) -> None:
        """After a smaller step, in place: the most that is still possible of embedding and sharing, layers that share
        their weights alike."""
        for name, possible in self._possible(codes).items():
            place = self.common_genes.index(name)
            most = possible.shape[1] - 1 - np.argmax(possible[:, ::-1], axis=1)
            fits = possible[np.arange(len(codes)), codes[:, place]]
            codes[:, place] = np.where(fits, codes[:, place], most)
        if self._in_groups or self.caps is not None:
            self._group(codes)
            self._confine(codes)
            self.layer_view(codes)[~self.used(codes)] = 0

    def _shallower(self, code: Codes) -> list[npt.NDArray[np.int64]]:
        """The next smaller depth: all layers alike, or with any one stretch of neighbouring layers taken out."""
        if code[0] == 0:
            return []
        lower = code.copy()
        lower[0] -= 1
        if self.choices.alike:
            self._settle(lower[None])
            return [lower]
        depth, kept = self.choices.layers[code[0]], self.choices.layers[lower[0]]
        removed = depth - kept
        layers = self.layer_view(code[None])[0]
        results = []
        for start in range(kept + 1):
            rest = np.delete(layers, np.s_[start : start + removed], axis=0)
            padded = np.concatenate([rest, np.zeros((removed, len(self.layer_genes)), dtype=np.int64)])
            shallower = np.concatenate([lower[: len(self.common_genes)], padded.reshape(-1)])
            settled = shallower.copy()
            self._settle(settled[None])
            # A layer that comes to a place of more heads would have grown.
            heads, before = (self.layer_view(one[None])[0, :kept, 0] for one in (settled, shallower))
            if (heads <= before).all():
                results.append(settled)
        return results
