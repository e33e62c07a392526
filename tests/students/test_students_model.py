"""The torch model: exact counts, names, saving and loading, masks, and eval/train behaviour."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from runs.errors import UserError
from students.layers import BlockStack, build_block
from students.model import StudentModel, build_student, load_student, with_head
from students.spec import Head, LayerBlock, StudentSpec, TransformerLayer

MIXED = StudentSpec(
    embedding_width=24,
    hidden_width=32,
    layers=(TransformerLayer(2, 48, 40), TransformerLayer(4, 16, 24, "relu"), TransformerLayer(1, 8, 64, "silu")),
    vocabulary_size=60,
    maximum_positions=20,
    head=Head("classification", 3),
)


@st.composite
def specs(draw: st.DrawFn) -> StudentSpec:
    """Small students of every kind: heterogeneous, factorised, any head."""
    size = st.integers(1, 24)
    layer = st.builds(
        lambda heads, width, ffn, activation: TransformerLayer(heads, heads * width, ffn, activation),
        st.integers(1, 4),
        st.integers(1, 9),
        size,
        st.sampled_from(["gelu", "relu", "silu"]),
    )
    kind = draw(st.sampled_from(["none", "classification", "regression"]))
    hidden = draw(size)
    return StudentSpec(
        embedding_width=draw(st.one_of(st.just(hidden), size)),
        hidden_width=hidden,
        layers=tuple(draw(st.lists(layer, min_size=1, max_size=4))),
        vocabulary_size=draw(st.integers(1, 30)),
        maximum_positions=draw(st.integers(6, 12)),
        token_types=draw(st.integers(1, 3)),
        head=Head(kind, draw(st.integers(2, 4)) if kind == "classification" else 1),
    )


def texts(spec: StudentSpec, batch: int = 3, length: int = 6) -> dict[str, torch.Tensor]:
    """Random tokens; the second row ends in padding."""
    generator = torch.Generator().manual_seed(7)
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[1:, length // 2 :] = 0
    return {
        "input_ids": torch.randint(spec.vocabulary_size, (batch, length), generator=generator),
        "token_type_ids": torch.randint(spec.token_types, (batch, length), generator=generator),
        "attention_mask": mask,
    }


@settings(max_examples=25, deadline=None)
@given(specs())
def test_counts_are_those_of_the_built_model(spec: StudentSpec) -> None:
    model = build_student(spec)
    assert spec.parameters() == sum(weight.numel() for weight in model.parameters())
    # The counter knows no formula for the CPU's fused attention, but does for its parts in the plain kernel.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(**texts(spec))
    assert spec.flops(3, 6) == counter.get_total_flops()


@settings(max_examples=15, deadline=None)
@given(specs())
def test_blocks_built_alone_have_the_models_parts(spec: StudentSpec) -> None:
    for block in spec.blocks():
        assert block.parameters() == sum(weight.numel() for weight in build_block(block).parameters())


def test_state_names() -> None:
    names = set(build_student(MIXED).state_dict())
    embedding = [f"embeddings.{n}.weight" for n in ("word", "position", "token_type")]
    pairs = ["embeddings.norm", "embeddings.projection"]
    for layer in range(3):
        parts = ("query", "key", "value", "output", "attention_norm", "expand", "contract", "ffn_norm")
        pairs += [f"layers.{layer}.{part}" for part in parts]
    inside = embedding + [f"{pair}.{kind}" for pair in pairs for kind in ("weight", "bias")]
    head = {f"head.{part}.{kind}" for part in ("pooler", "classifier") for kind in ("weight", "bias")}
    assert names == {f"student.{name}" for name in inside} | head


@pytest.mark.parametrize("head", [Head("classification", 3), Head("regression", 1)])
def test_round_trip_through_auto_class(tmp_path: Path, head: Head, capfd: pytest.CaptureFixture[str]) -> None:
    model = with_head(build_student(MIXED, seed=4), head)
    expected = model(**texts(MIXED)).logits
    model.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    transformers_logging.disable_progress_bar()
    capfd.readouterr()
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    encoder = AutoModel.from_pretrained(tmp_path)
    assert capfd.readouterr().err == ""
    assert not loaded.training
    assert torch.equal(loaded(**texts(MIXED)).logits, expected)
    assert torch.equal(load_student(tmp_path)(**texts(MIXED)).logits, expected)
    assert loaded.config.spec_object == model.config.spec_object
    hidden = model(**texts(MIXED), output_hidden_states=True).hidden_states
    assert len(hidden) == 4
    assert torch.equal(encoder(**texts(MIXED)).last_hidden_state, hidden[-1])


def test_headless_round_trip_and_label_names(tmp_path: Path) -> None:
    bare = with_head(build_student(MIXED), Head("none"))
    bare.save_pretrained(tmp_path / "bare")
    assert isinstance(load_student(tmp_path / "bare"), StudentModel)
    named = build_student(MIXED, label_names=("bad", "fair", "good"))
    named.save_pretrained(tmp_path / "named")
    assert load_student(tmp_path / "named").config.id2label == {0: "bad", 1: "fair", 2: "good"}
    with pytest.raises(UserError, match="2 label names"):
        build_student(MIXED, label_names=("bad", "good"))


def test_padding_changes_nothing() -> None:
    model = build_student(MIXED)
    batch = texts(MIXED)
    row = {name: values[1:2, :3] for name, values in batch.items()}
    del row["attention_mask"]
    with torch.inference_mode():
        padded, alone = model(**batch).logits[1], model(**row).logits[0]
        assert torch.allclose(padded, alone, atol=1e-6)
        batch["attention_mask"][1] = 0
        assert torch.isfinite(model(**batch).logits).all()


def test_seed_decides_weights_and_leaves_torch_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, again, other = build_student(MIXED, 5), build_student(MIXED, 5), build_student(MIXED, 6)
    assert torch.equal(torch.rand(1), expected)
    weights = [model.student.layers[0].query.weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_dropout_acts_in_training_alone() -> None:
    model = build_student(MIXED, dropout=0.5)
    batch = texts(MIXED)
    assert torch.equal(model(**batch).logits, model(**batch).logits)
    model.train()
    assert not torch.equal(model(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_loss_falls_on_one_batch(kind: str) -> None:
    head = Head("classification", 3) if kind == "classification" else Head("regression", 1)
    model = with_head(build_student(MIXED), head).train()
    batch = texts(MIXED) | {"labels": torch.tensor([0, 2, 1])}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = model(**batch).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(model(**batch).loss)


def test_stack_runs_its_layers_in_turn() -> None:
    stack = BlockStack(LayerBlock(32, TransformerLayer(2, 48, 40)), 3).eval()
    hidden = torch.rand(2, 5, 32)
    expected = hidden
    for layer in stack.layers:
        expected = layer(expected, None)
    assert torch.equal(stack(hidden), expected)
    assert len({layer.query.weight.data_ptr() for layer in stack.layers}) == 3


def test_bad_folders_and_texts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_student(tmp_path)
    build_student(MIXED).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(UserError, match="cannot be read"):
        load_student(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UserError, match="gpt2"):
        load_student(tmp_path)
    with pytest.raises(UserError, match="21 tokens"):
        build_student(MIXED)(torch.zeros(1, 21, dtype=torch.long))
