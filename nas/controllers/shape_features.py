"""Members as a few numbers that say what a shape is like, whatever its depth: what a linear model can learn from."""

from math import log, log1p

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import Ridge

from nas.controllers.pool import Codes
from students.space import SearchSpace
from students.spec import StudentSpec

Features = npt.NDArray[np.float64]


def spec_features(spec: StudentSpec) -> list[float]:
    """What `shape_features` says of a student but for its activation and types: there is no space to list those."""
    depth, first, last = len(spec.layers), spec.layers[0], spec.layers[-1]
    ffn = [layer.ffn_width for layer in spec.layers]
    queries = [getattr(layer, "qkv_width", 0) for layer in spec.layers]
    heads = sum(getattr(layer, "heads", 0) for layer in spec.layers)
    found = [float(depth), 1 / depth, log(spec.hidden_width), heads / depth]
    found += [log1p(each) for each in (sum(ffn), min(ffn), first.ffn_width, last.ffn_width)]
    least = min((width for width in queries if width), default=0)
    return found + [log1p(each) for each in (sum(queries), least, queries[0], queries[-1])]


def foretell(known: Features, worth: Features, asked: Features) -> Features:
    """Features [n, f] and what their students are worth [n] → what a ridge regression says of others [m].

    Numbers are comparable with each other alone where both have been centred.
    """
    scale = known.std(axis=0)
    # What all known students have alike says nothing of them.
    usable = scale > 1e-9
    scale[~usable] = 1.0
    said: Features = Ridge(alpha=1.0).fit(known * usable / scale, worth).predict(asked * usable / scale)
    return said


def shape_features(space: SearchSpace, codes: Codes) -> Features:
    """Codes [n, genes] → [n, f], the same f for all members of a space.

    Depth and its inverse, the logarithm of the hidden width, the mean number of heads; of feed-forwards and of queries
    the logarithms of the sum, the least, the first and the last; shares of activations and of layer types; where the
    space has a choice of them, the logarithm of the words' channels and the share of layers that are stored.
    """
    choices, layers = space.choices, space.layer_view(codes)
    depths = space.depths(codes)
    slots = np.zeros((len(codes), max(choices.layers)), dtype=np.int64)
    if not choices.alike:
        slots[:] = np.arange(slots.shape[1])
    there = np.arange(slots.shape[1]) < depths[:, None]
    attends = np.take_along_axis(np.asarray(space.attends(codes)), slots, axis=1) & there

    def of_layers(values: npt.NDArray[np.int64]) -> Features:
        """Values [n, slots] → [n, most layers], layer by layer."""
        return np.take_along_axis(values, slots, axis=1).astype(np.float64)

    rows, last = np.arange(len(codes)), depths - 1
    queries = np.where(attends, of_layers(space.query_widths(codes)), 0.0)
    heads = np.where(attends, of_layers(np.array(choices.heads)[layers[..., 0]]), 0.0)
    ffn = of_layers(np.array(choices.ffn)[layers[..., 2]])
    found = [depths, 1.0 / depths, np.log(np.array(choices.hidden)[codes[:, 1]]), heads.sum(axis=1) / depths]
    for values, held in ((ffn, there), (queries, attends)):
        least = np.where(held, values, np.inf).min(axis=1)
        sums = np.where(held, values, 0.0).sum(axis=1)
        least[~np.isfinite(least)] = 0.0
        found += [np.log1p(each) for each in (sums, least, values[:, 0], values[rows, last])]
    found += [(codes[:, 2] == one).astype(np.float64) for one in range(len(choices.activation))]
    if space.typed:
        types = of_layers(layers[..., -1])
        found += [((types == one) & there).sum(axis=1) / depths for one in range(len(choices.types))]
    if len(choices.embedding) > 1:
        found.append(np.log(space.embedding_widths[codes[:, 1], space.common(codes, "embedding")]))
    if len(choices.sharing) > 1:
        found.append(((space.owners(codes) == np.arange(max(choices.layers))) & there).sum(axis=1) / depths)
    return np.stack(found, axis=1).astype(np.float64)
