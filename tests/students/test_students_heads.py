"""Heads in torch: counts, names, saving through the Auto classes, losses, padding, and what cannot be a head."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from runs.errors import UserError
from students.bert_heads import BERT_HEADS
from students.heads import HEAD_BLOCKS, Head, HeadKind
from students.model import AUTO_CLASSES, MODEL_CLASSES, StudentModel, build_student, load_student, with_head
from students.spec import ConvolutionLayer, FeedForwardLayer, StudentSpec, TransformerLayer

KINDS = get_args(HeadKind)
PER_TOKEN = ("tokens", "spans", "masked-lm", "causal-lm")


def spec_of(kind: HeadKind, embedding_width: int = 20) -> StudentSpec:
    layers = (TransformerLayer(2, 16, 40), FeedForwardLayer(30), TransformerLayer(3, 24, 20, "relu"))
    head = Head(kind, {"regression": 1, "tokens": 5}.get(kind, 2))
    return StudentSpec(embedding_width, 24, layers, vocabulary_size=50, maximum_positions=20, head=head)


def shaken(model: Any, seed: int = 3) -> Any:
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.data += 0.2 * torch.randn(weight.shape, generator=generator)
    return model


def texts(batch: int = 3, length: int = 8) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[1:, length // 2 :] = 0
    return {"input_ids": torch.randint(50, (batch, length), generator=generator), "attention_mask": mask}


def answers(model: Any, **inputs: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        return [value for value in model(**inputs).values() if torch.is_tensor(value)]


def test_every_kind_is_in_every_registry() -> None:
    for registry in (HEAD_BLOCKS, MODEL_CLASSES, BERT_HEADS):
        assert set(registry) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
class TestEveryHead:
    def test_counts_are_those_of_the_model(self, kind: HeadKind) -> None:
        for width in (20, 24):
            spec = spec_of(kind, width)
            model = build_student(spec)
            assert spec.parameters() == sum(weight.numel() for weight in model.parameters())
            with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
                model(**texts())
            assert spec.flops(3, 8) == counter.get_total_flops()

    def test_bytes_are_at_least_the_weights(self, kind: HeadKind) -> None:
        for block in spec_of(kind).blocks()[-1:]:
            assert block.bytes_moved(2, 8, 1.0) - block.bytes_moved(2, 8, 0.0) >= block.parameters()

    def test_json_keeps_the_head(self, kind: HeadKind) -> None:
        assert StudentSpec.from_json(spec_of(kind).to_json()) == spec_of(kind)

    def test_round_trip_through_its_auto_class(self, kind: HeadKind, tmp_path: Path) -> None:
        model = shaken(build_student(spec_of(kind)))
        expected = answers(model, **texts())
        model.save_pretrained(tmp_path)
        loaders = [load_student]
        loaders += [auto.from_pretrained for auto, own in AUTO_CLASSES if isinstance(model, own)]
        assert len(loaders) == (1 if kind == "none" else 2)
        for loader in loaders:
            loaded = loader(tmp_path)
            assert type(loaded) is type(model)
            for one, other in zip(answers(loaded, **texts()), expected, strict=True):
                assert torch.allclose(one, other, atol=1e-6)

    def test_padding_changes_no_real_token(self, kind: HeadKind) -> None:
        model = shaken(build_student(spec_of(kind)))
        batch = texts()
        alone = {"input_ids": batch["input_ids"][1:2, :4]}
        for padded, short in zip(answers(model, **batch), answers(model, **alone), strict=True):
            kept = padded[1:2, :4] if kind in (*PER_TOKEN, "none") else padded[1:2]
            assert torch.allclose(kept, short, atol=1e-5)

    def test_only_its_own_class_takes_it(self, kind: HeadKind) -> None:
        config = build_student(spec_of(kind)).config
        for _, own in AUTO_CLASSES:
            if kind not in own.kinds:
                with pytest.raises(UserError, match="no head" if kind == "none" else "class for that"):
                    own(config)


LABELS: dict[str, dict[str, Tensor]] = {
    "tokens": {"labels": torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2]] * 2 + [[-100] * 8])},
    "spans": {"start_positions": torch.tensor([1, 2, 9]), "end_positions": torch.tensor([3, 2, 9])},
    "masked-lm": {"labels": torch.tensor([[7, -100, 9, -100, -100, -100, -100, -100]] * 3)},
    "causal-lm": {"labels": texts()["input_ids"]},
}


@pytest.mark.parametrize("kind", PER_TOKEN)
def test_loss_falls(kind: HeadKind) -> None:
    model = build_student(spec_of(kind)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model(**texts(), **LABELS[kind]).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_what_is_not_labelled_counts_in_no_loss() -> None:
    model = shaken(build_student(spec_of("tokens")))
    labels = torch.full((3, 8), -100)
    labels[0, 2] = 4
    found = model(**texts(), labels=labels)
    expected = -torch.log_softmax(found.logits[0, 2], dim=-1)[4]
    assert torch.allclose(found.loss, expected, atol=1e-6)


def test_a_causal_loss_is_about_the_next_token() -> None:
    model = shaken(build_student(spec_of("causal-lm")))
    ids = texts()["input_ids"][:1]
    found = model(ids, labels=ids)
    scores = torch.log_softmax(found.logits[0, :-1], dim=-1)
    assert torch.allclose(found.loss, -scores[torch.arange(7), ids[0, 1:]].mean(), atol=1e-6)


@pytest.mark.parametrize(
    "kind, labels, reason",
    [
        ("poetry", 2, "unknown head 'poetry'"),
        ("regression", 2, "one label"),
        ("classification", 1, "at least two"),
        ("tokens", 1, "at least two"),
        ("spans", 3, "2 labels"),
        ("tokens", 0, "whole number"),
    ],
)
def test_what_is_no_head(kind: Any, labels: int, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        Head(kind, labels)


def test_a_causal_student_has_no_convolution() -> None:
    with pytest.raises(UserError, match="layer 1 is of type convolution"):
        StudentSpec(8, 8, (FeedForwardLayer(8), ConvolutionLayer(3, 8)), head=Head("causal-lm"))


def test_language_heads_change_into_each_other() -> None:
    masked = shaken(build_student(spec_of("masked-lm")))
    causal = with_head(masked, Head("causal-lm"))
    assert torch.equal(causal.head.bias, masked.head.bias)
    assert torch.equal(causal.base_model.embeddings.word.weight, masked.base_model.embeddings.word.weight)
    assert isinstance(with_head(causal, Head("none")), StudentModel)
