"""What a teacher's channels, heads and neurons are worth, and how each follows from the others, over some batches."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runs.errors import UserError
from runs.registry import Registry
from students.head_modules import LanguageHeadModule
from students.headed import UNLABELLED
from students.layers import HeadModule
from students.model import StudentPreTrainedModel, encoder_of
from students.spec import transformer_layers

FIRST_TOKEN = "first_token"
"""The point that the head reads: the last hidden state of the first token alone."""


@dataclass(frozen=True)
class Point:
    """Statistics of one activation over all real tokens.

    `score` [d]: mean of |activation × gradient|, the first-order change of the loss if the channel were 0 (Molchanov
    et al. 2017). `mean` [d] and `covariance` [d, d] tell what a channel's neighbours know of it. `count`: tokens seen.

    Ahead of a layer norm, mean and covariance are of what the norm makes of a token's scale: its input divided by its
    spread over channels (`….norm.in`), or weighted by the inverse square of that spread (what is added to the residual:
    `output.in`, `contract.in`). Without that the few tokens with giant activations, which the norm calms, decide all.
    """

    score: Tensor
    mean: Tensor
    covariance: Tensor
    count: int


@dataclass(frozen=True)
class Importance:
    """Points by the name of the module they enter (`….in`) or leave (`….out`), named as in the model's encoder.

    Norms are seen on both sides; `output.in` is attention's context, `contract.in` the activated neurons.
    """

    points: Mapping[str, Point]

    def alone(self) -> "Importance":
        """The same scores over channels that know nothing of each other: what is cut by it is the plain sub-matrix,
        but for the norms' gains, which allow for a narrower mean (less than 1 % at 64 channels)."""

        def one(point: Point) -> Point:
            width = len(point.mean)
            return replace(point, mean=torch.zeros_like(point.mean), covariance=torch.eye(width).to(point.covariance))

        return Importance({name: one(point) for name, point in self.points.items()})


class _Sums:
    """Running sums of one point."""

    def __init__(self, width: int) -> None:
        self.score = torch.zeros(width, dtype=torch.float64)
        self.first = torch.zeros(width, dtype=torch.float64)
        self.second = torch.zeros(width, width, dtype=torch.float64)
        self.weight = 0.0
        self.count = 0

    def add(self, values: Tensor, gradients: Tensor, weights: Tensor) -> None:
        """Values and gradients [tokens, d], weights [tokens] for the moments alone."""
        weighted = values * weights[:, None]
        self.score += (values * gradients).abs().sum(dim=0).double().cpu()
        self.first += weighted.sum(dim=0).double().cpu()
        self.second += (weighted.T @ values).double().cpu()
        self.weight += float(weights.double().sum())
        self.count += len(values)

    def point(self) -> Point:
        mean = self.first / self.weight
        return Point(self.score / self.count, mean, self.second / self.weight - torch.outer(mean, mean), self.count)


HEAD_POINTS: tuple[tuple[type[nn.Module], str], ...] = (
    (HeadModule, "head.classifier"),
    (LanguageHeadModule, "head.norm"),
)
"""What of a head is watched as it goes in; a classifier over every token reads the last layer's norm, as layers do."""


def _watched(layers: int, factorised: bool, head: nn.Module | None) -> Iterator[tuple[str, str]]:
    """(module, side) of every point."""
    norms = ["embeddings.norm"]
    for layer in range(layers):
        norms += [f"layers.{layer}.attention_norm", f"layers.{layer}.ffn_norm"]
        yield from ((f"layers.{layer}.{name}", "out") for name in ("query", "key"))
        yield from ((f"layers.{layer}.{name}", "in") for name in ("output", "contract"))
    for norm in norms:
        yield norm, "in"
        yield norm, "out"
    if factorised:
        yield "embeddings.projection", "out"
    yield from ((name, "in") for kind, name in HEAD_POINTS if isinstance(head, kind))


@contextmanager
def _record(model: StudentPreTrainedModel, seen: dict[str, Tensor]) -> Iterator[None]:
    """Put every point's activation into `seen` at each forward pass, with its gradient kept."""
    encoder = encoder_of(model)
    handles = []
    factorised = encoder.embeddings.projection is not None
    for name, side in _watched(len(encoder.layers), factorised, getattr(model, "head", None)):
        owner: nn.Module = model if name.startswith("head.") else encoder

        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor, key: str = f"{name}.{side}") -> None:
            activation = inputs[0] if key.endswith(".in") else output
            activation.retain_grad()
            seen[key] = activation

        handles.append(owner.get_submodule(name).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def importance(model: StudentPreTrainedModel, batches: Iterable[Mapping[str, Tensor]], seed: int = 0) -> Importance:
    """Statistics of the model over batches (`input_ids`, `attention_mask`, and `token_type_ids` and `labels` if any).

    The loss is the task's where a batch has labels, else a random ±1 sum of the outputs, which asks for the outputs to
    stay as they are. The model is run in eval mode and left as it was; its gradients are cleared. Some thousand tokens
    are enough; no batch at all, or layers other than transformers, raise `UserError`.
    """
    transformer_layers(model.config.spec_object, "importance")
    was_training, sums = model.training, dict[str, _Sums]()
    generator = torch.Generator().manual_seed(seed)
    seen: dict[str, Tensor] = {}
    model.train(False)
    try:
        with torch.enable_grad(), _record(model, seen):
            for batch in batches:
                _loss(model, batch, generator).backward()
                _collect(seen, batch["attention_mask"].bool(), sums)
                model.zero_grad(set_to_none=True)
    finally:
        model.train(was_training)
    if not sums:
        raise UserError("importance needs at least one batch of texts.")
    return Importance({name: total.point() for name, total in sums.items()})


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")


SUMMED_LOSSES: Registry[Callable[[Any, Tensor], Tensor]] = Registry("head")
"""Head kind → the summed loss of (output, labels), unlabelled ones left out."""
SUMMED_LOSSES.register("classification")(lambda output, labels: _cross_entropy(output.logits, labels))
SUMMED_LOSSES.register("regression")(lambda output, labels: F.mse_loss(output.logits[:, 0], labels, reduction="sum"))
SUMMED_LOSSES.register("tokens")(lambda output, labels: _cross_entropy(output.logits.flatten(0, 1), labels.flatten()))
SUMMED_LOSSES.register("masked-lm")(SUMMED_LOSSES["tokens"])
SUMMED_LOSSES.register("causal-lm")(
    lambda output, labels: _cross_entropy(output.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
)
SUMMED_LOSSES.register("spans")(
    lambda output, labels: (
        _cross_entropy(output.start_logits, labels[:, 0]) + _cross_entropy(output.end_logits, labels[:, 1])
    )
)


def _loss(model: StudentPreTrainedModel, batch: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
    names = ("input_ids", "attention_mask", "token_type_ids", "labels")
    given = {name: batch[name].to(model.device) for name in names if name in batch}
    labels = given.pop("labels", None)
    # Asking for hidden states keeps the last layer from making the first token alone.
    output = model(**given, output_hidden_states=True)
    kind = model.config.spec_object.head.kind
    if labels is not None and kind in SUMMED_LOSSES:
        return SUMMED_LOSSES[kind](output, labels)
    answer: Tensor = output[0]
    signs = torch.randint(0, 2, answer.shape, generator=generator) * 2 - 1
    return (answer * signs.to(answer)).sum()


NORM_AFTER = {"output.in": "attention_norm.in", "contract.in": "ffn_norm.in"}
"""What is added to the residual → where the sum enters a norm."""


def _collect(seen: Mapping[str, Tensor], real: Tensor, sums: dict[str, _Sums]) -> None:
    """Add one batch's activations and gradients, padding left out."""
    last = max((key for key in seen if key.endswith("ffn_norm.out")), key=lambda key: int(key.split(".")[1]))
    for key, activation in [*seen.items(), (FIRST_TOKEN, seen[last])]:
        gradient = torch.zeros_like(activation) if activation.grad is None else activation.grad
        values, weights = activation.detach().float(), torch.ones(activation.shape[:-1])
        path, part = key.rsplit(".", 2)[0], ".".join(key.split(".")[-2:])
        if part in NORM_AFTER:
            weights = _spread(seen[f"{path}.{NORM_AFTER[part]}"]) ** -2
        elif part.endswith("norm.in"):
            # Dividing the values scales the gradients by as much, and leaves their product as it was.
            scale = _spread(activation)[..., None]
            values, gradient = values / scale, gradient * scale
        if key == FIRST_TOKEN:
            values, gradient, weights = values[:, 0], gradient[:, 0], weights[:, 0]
        elif values.dim() == 3:
            mask = real.to(values.device)
            values, gradient, weights = values[mask], gradient[mask], weights[mask.to(weights.device)]
        width = values.shape[-1]
        sums.setdefault(key, _Sums(width)).add(values, gradient.float(), weights.to(values.device))


def _spread(values: Tensor) -> Tensor:
    """Standard deviation over channels of every token, [B, S]."""
    return values.detach().float().std(dim=-1, correction=0).clamp_min(1e-6)
