"""Cutting one linear map, one layer norm or one table down to some of its channels, the rest told by those kept."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from students.importance import Point

RIDGE = 0.1
"""Share of the mean variance added before solving, so that few batches do not fit noise, and errors of earlier layers
are not amplified. Of 0.001 … 0.3 on all-MiniLM-L6-v2, 0.1 kept the hidden states of unseen texts best over narrower
hidden states, fewer heads and narrower feed-forwards together."""


@dataclass(frozen=True)
class Kept:
    """The channels of a teacher's activation that a student keeps, and the affine map that gives all from them.

    `index` [k]: where they are in the teacher; `places` [k]: where in the student. All [d] ≈ `matrix` [d, k] @ kept +
    `offset` [d].
    """

    index: Tensor
    places: Tensor
    matrix: Tensor
    offset: Tensor


def top(scores: Tensor, count: int) -> Tensor:
    """Positions of the `count` highest scores, ascending; all of them where there are fewer."""
    return torch.topk(scores, min(count, len(scores))).indices.sort().values


def best_first(scores: Tensor, count: int) -> Tensor:
    """The same positions, those of the highest scores first; of equals the first one first."""
    return torch.sort(scores, descending=True, stable=True).indices[:count]


Choice = Callable[[Tensor, int], Tensor]
"""Scores [n] and a count → the positions that are kept, in the order in which a student has them."""


def keep(point: Point, index: Tensor, places: Tensor | None = None) -> Kept:
    """Least squares of every channel on the kept ones; a kept channel is itself, exactly."""
    matrix = torch.zeros(len(point.mean), len(index), dtype=torch.float64)
    matrix[index, torch.arange(len(index))] = 1.0
    offset = torch.zeros(len(point.mean), dtype=torch.float64)
    dropped = torch.ones(len(point.mean), dtype=torch.bool)
    dropped[index] = False
    if dropped.any():
        among = point.covariance[index][:, index]
        ridge = (RIDGE + len(index) / point.count) * among.diagonal().mean().clamp_min(1e-12)
        across = point.covariance[index][:, dropped]
        told = torch.linalg.solve(among + ridge * torch.eye(len(index), dtype=torch.float64), across).T
        matrix[dropped] = told
        offset[dropped] = point.mean[dropped] - told @ point.mean[index]
    return Kept(index, torch.arange(len(index)) if places is None else places, matrix, offset)


def cut_linear(
    target: nn.Linear,
    source: nn.Linear,
    incoming: Kept,
    rows: Tensor,
    places: Tensor | None = None,
    scale: float = 1.0,
) -> None:
    """Write the source's output channels `rows` into the target's `places` (default: its first), inputs replaced.

    `scale` multiplies the outputs.
    """
    where = torch.arange(len(rows)) if places is None else places
    weight, bias = source.weight.double().cpu()[rows], source.bias.double().cpu()[rows]
    target.weight[where[:, None], incoming.places] = (scale * (weight @ incoming.matrix)).to(target.weight.dtype)
    target.bias[where] = (scale * (bias + weight @ incoming.offset)).to(target.bias.dtype)


def cut_norm(target: nn.LayerNorm, source: nn.LayerNorm, before: Point, index: Tensor) -> None:
    """Keep `index`, with gain and shift corrected for the mean and spread of the channels that the norm still sees.

    The correction is that of an average token. Channels the target has beyond `index` count as 0.
    """
    width, mean = len(before.mean), before.mean
    second = before.covariance + torch.outer(mean, mean)
    seen, all_channels = len(target.weight), torch.arange(width)

    def spread(some: Tensor, count: int) -> Tensor:
        variance: Tensor = second.diagonal()[some].sum() / count - second[some][:, some].sum() / count**2
        return variance.clamp_min(1e-12).sqrt()

    full = spread(all_channels, width)
    drift = (mean[index].sum() / seen - mean.sum() / width) / full
    gain = source.weight.double().cpu()[index]
    target.weight[: len(index)] = (gain * (spread(index, seen) / full)).to(target.weight.dtype)
    target.bias[: len(index)] = (source.bias.double().cpu()[index] + gain * drift).to(target.bias.dtype)


def usual_token(read: Point, index: Tensor, count: int) -> tuple[float, float]:
    """Mean and spread over `count` channels, those of `index` and zeros, of a token of the usual kind."""
    mean = read.mean[index].sum() / count
    second = (read.covariance.diagonal()[index] + read.mean[index].square()).sum() / count
    return float(mean), float((second - mean**2).clamp_min(1e-12).sqrt())


def pass_through(target: nn.LayerNorm, read: Point, index: Tensor) -> None:
    """Have a norm leave the channels `index` of `read` as they are, for a token of the usual mean and spread.

    Channels the target has beyond `index` count as 0. Of channels that are thought to know nothing of each other
    (`Importance.alone`) neither is known, and the norm does what a norm does.
    """
    mean, spread = usual_token(read, index, len(target.weight))
    target.weight.fill_(spread)
    target.bias.fill_(mean)


def cut_table(target: nn.Embedding, source: nn.Embedding, columns: Tensor) -> None:
    """Keep `columns` of an embedding, and as many of its first rows as the target has."""
    target.weight[:, : len(columns)] = source.weight[: target.num_embeddings][:, columns]
