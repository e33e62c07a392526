"""What recipes see inside a teacher, computed once for a whole split and read from memory-mapped arrays afterwards.

A layer's hidden states, queries, keys or values are one row a token, whatever batch a text stands in; attention scores
are made again from queries and keys. Half precision is coarser than what is stored, and finer than bf16.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import disk_usage
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from torch import Tensor

from distill.batches import Batch, Encoded, evaluation_batches
from distill.features import Features, attention_scores, no_gradient_features
from distill.forms import layers_of, spec_of, widths_of
from distill.numerics import mixed_precision
from runs.files import read_json, write_json_atomic
from students.spec import BottleneckLayer, TransformerLayer

MOST_BYTES = 4 * 2**30
"""What a run may keep on disk of the inside of its teacher, and of its answers; more is asked for at each step."""

LEAST_VISITS = 1.5
"""How often a run comes to each text, on average, before storing pays: filling the store is a visit too."""

Place = tuple[str, int]
"""Feature and its number: of hidden states 0 is the embedding's, of all others 0 is the first layer's."""

PREFIX = "teacher."
STORES_FILE = "stores.json"
NO_ANSWERS = torch.empty(0)


class Noted(Sequence[Tensor]):
    """A feature's layers, which notes those that are looked at."""

    def __init__(self, name: str, layers: Sequence[Tensor], seen: set[Place]) -> None:
        self._name, self._layers, self._seen = name, layers, seen

    def __getitem__(self, number: Any) -> Any:
        self._seen.add((self._name, range(len(self._layers))[number]))
        return self._layers[number]

    def __len__(self) -> int:
        return len(self._layers)


LAYERED = ("hidden_states", "attention_scores", "queries", "keys", "values", "attention_outputs")


def noted(features: Features, seen: set[Place]) -> Features:
    """The same features, which file in `seen` what is looked at."""
    wrapped: dict[str, Any] = {name: Noted(name, getattr(features, name), seen) for name in LAYERED}
    return replace(features, **wrapped)


def places_to_store(seen: set[Place], teacher: Any) -> tuple[Place, ...] | None:
    """What must be stored so that all of `seen` can be had again; None where something cannot."""
    if any(name == "attention_scores" for name, _ in seen) and spec_of(teacher) is None:
        # Other architectures add to the product of queries and keys.
        return None
    found: set[Place] = set()
    for name, number in seen:
        found |= {("queries", number), ("keys", number)} if name == "attention_scores" else {(name, number)}
    return tuple(sorted(found))


def bytes_of(places: Sequence[Place], teacher: Any, tokens: int) -> int:
    """Size on disk of what so many tokens have at `places`."""
    spec, widths = spec_of(teacher), 0
    for name, number in places:
        if name in ("queries", "keys", "values") and spec is not None:
            layer = spec.layers[number]
            assert isinstance(layer, TransformerLayer | BottleneckLayer)
            widths += layer.qkv_width
        else:
            shape = "attention_outputs" if name == "attention_outputs" else "hidden_states"
            widths += widths_of(teacher, shape)[number + (name != "hidden_states")]
    return 2 * tokens * widths


@dataclass
class Inside:
    """Arrays in `folder`, [tokens of a split, width] for each of `places`; opened by whoever reads first."""

    folder: Path
    places: tuple[Place, ...]
    _arrays: dict[Place, npt.NDArray[np.float16]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        # Other processes open the files themselves.
        return {"folder": self.folder, "places": self.places, "_arrays": {}}

    def _file(self, place: Place) -> Path:
        return self.folder / f"{place[0]}-{place[1]}.npy"

    def missing(self) -> tuple[Place, ...]:
        """Places without a file."""
        return tuple(place for place in self.places if not self._file(place).is_file())

    def in_batch(self, encoded: Encoded, chosen: Any) -> Batch:
        """Features of the texts `chosen`, padded: [B, S, width] each, under names that no model takes."""
        for place in self.places:
            if place not in self._arrays:
                self._arrays[place] = np.load(self._file(place), mmap_mode="r")
        return {
            f"{PREFIX}{name}.{number}": torch.from_numpy(encoded.padded(self._arrays[name, number], chosen, 0.0))
            for name, number in self.places
        }

    def fill(self, teacher: Any, encoded: Encoded) -> bool:
        """Write what is missing, the teacher run over the split once; whether half precision holds all of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            for left in self.folder.glob("*.part"):
                left.unlink()
            return self._fill(teacher, encoded, self.missing())

    def _fill(self, teacher: Any, encoded: Encoded, wanted: tuple[Place, ...]) -> bool:
        parts = {place: self._file(place).with_suffix(".part") for place in wanted}
        arrays: dict[Place, Any] = {}
        device = next(teacher.parameters()).device
        with mixed_precision(device):
            for chosen in evaluation_batches(encoded.lengths) if wanted else []:
                batch = {name: tensor.to(device) for name, tensor in encoded.batch(chosen).items()}
                features = no_gradient_features(teacher, batch, frozenset(name for name, _ in wanted))
                for place in wanted:
                    values = getattr(features, place[0])[place[1]].half().cpu().numpy()
                    if not np.isfinite(values).all():
                        return False
                    if place not in arrays:
                        size = (len(encoded.ids), values.shape[-1])
                        arrays[place] = np.lib.format.open_memmap(parts[place], "w+", np.float16, size)
                    for row, text in enumerate(chosen):
                        start, end = encoded.offsets[text : text + 2]
                        arrays[place][start:end] = values[row, : end - start]
        for place, array in arrays.items():
            array.flush()
            parts[place].replace(self._file(place))
        return True


def stored_inside(seen: set[Place], teacher: Any, encoded: Encoded, folder: Path, work: Path | None) -> Inside | None:
    """What is `seen` of a teacher's inside, stored in `folder`; None where it cannot be, is too much or finds no room.

    A run that goes on in its folder `work` does what it did when it began, however much room the disk has now.
    """
    places = places_to_store(seen, teacher)
    if places is None or bytes_of(places, teacher, len(encoded.ids)) > MOST_BYTES:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    inside = Inside(folder, places)
    missing = bytes_of(inside.missing(), teacher, len(encoded.ids))
    fits = _as_begun(work, missing < disk_usage(folder).free)
    return inside if fits and inside.fill(teacher, encoded) else None


def _as_begun(work: Path | None, now: bool) -> bool:
    """What is so `now`, or was when a run in the folder `work` began."""
    if work is None:
        return now
    if not (work / STORES_FILE).is_file():
        work.mkdir(parents=True, exist_ok=True)
        write_json_atomic(work / STORES_FILE, now)
    return bool(read_json(work / STORES_FILE, "run's record"))


def has_features(batch: Batch) -> bool:
    """Whether a batch brings what is to be seen of the teacher."""
    return any(key.startswith(PREFIX) for key in batch)


@dataclass(frozen=True)
class _Some(Sequence[Tensor]):
    """Those layers of a feature that are there."""

    layers: Mapping[int, Tensor]
    length: int

    def __getitem__(self, number: Any) -> Any:
        return self.layers[range(self.length)[number]]

    def __len__(self) -> int:
        return self.length


def features_in(batch: Batch, teacher: Any) -> Features:
    """The teacher's features as a batch brings them; its answers are not among them."""
    found: dict[str, dict[int, Tensor]] = {name: {} for name in LAYERED}
    for where, values in batch.items():
        if where.startswith(PREFIX):
            _, name, number = where.split(".")
            found[name][int(number)] = values.float()
    spec = spec_of(teacher)
    if spec is not None:
        for place in found["queries"].keys() & found["keys"].keys():
            layer = spec.layers[place]
            assert isinstance(layer, TransformerLayer | BottleneckLayer)
            query, key = found["queries"][place], found["keys"][place]
            found["attention_scores"][place] = attention_scores(query, key, layer.heads)
    counts = {name: layers_of(teacher) + (name == "hidden_states") for name in LAYERED}
    given: dict[str, Any] = {name: _Some(found[name], counts[name]) for name in LAYERED}
    return Features(NO_ANSWERS, batch["attention_mask"].bool(), **given)
