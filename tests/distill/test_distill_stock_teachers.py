"""Teachers of other architectures: what is taken out of them, what they teach, and what is said where they cannot."""

import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stock_models import MODELS, write_stock
from transformers import MPNetForMaskedLM, RobertaForSequenceClassification

from distill.batches import Batch, Encoded
from distill.checkpoints import load_tokenizer
from distill.classroom import classroom
from distill.distillation import distil, evaluate
from distill.encoding import encode
from distill.examples import Task
from distill.features import Features, extract, split_heads
from distill.forms import layers_of, positions_of, students_inputs, widths_of
from distill.initialization import check_start
from distill.lesson import Lesson
from distill.objectives import OBJECTIVES
from distill.recipe import Optimization, Recipe, Term
from distill.recipe_file import RECIPES
from distill.sources import check_teacher
from distill.stock_teachers import check_stock, is_stock, load_stock, stock_with_head, without_weights
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from distill.vocabulary import trained_words, used_words
from runs.errors import UserError
from runs.progress import Progress
from students.bert import load_model
from students.model import build_student
from students.spec import Head, uniform_spec
from students.stock_encoders import STOCK_ENCODERS, stock_layers

INSIDE = frozenset({"hidden_states", "attention_scores", "queries", "keys", "values", "attention_outputs"})
WORDS = ("the", "film", "was", "a", "and", "very", "scene", "it", "of", "plot") + (
    "fine", "bright", "warm", "lovely", "sharp", "alive", "dull", "cold", "flat", "stale", "grim", "lost",
)  # fmt: skip
KNOWN = [kind for kind in MODELS if kind in STOCK_ENCODERS]
TRAINING = Optimization(learning_rate=3e-3, epochs=4, minimum_steps=1, batch_size=16)
TAUGHT = Recipe("tiny", (Term("logits"),), Optimization(3e-3, 4, 16, minimum_steps=1))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("stock")
    return {kind: write_stock(kind, place / kind, WORDS) for kind in MODELS}


@pytest.fixture
def batch(folders: dict[str, Path], task: Task) -> Batch:
    return encode(load_tokenizer(folders["mpnet"]), task.validation, 20).batch([0, 3, 5, 7])


def classifier(folder: Path) -> Any:
    return stock_with_head(folder, Head("classification", 2), ("bad", "good"), 0)[0]


@pytest.mark.parametrize("kind", KNOWN)
def test_features_are_what_is_computed_inside(kind: str, folders: dict[str, Path], batch: Batch) -> None:
    model = classifier(folders[kind])
    model.set_attn_implementation("eager")
    wanted = model(batch["input_ids"], batch["attention_mask"], output_hidden_states=True, output_attentions=True)
    # `transformers` leaves some of its own.
    hooks = sum(len(module._forward_hooks) for module in model.modules())
    seen = extract(model, batch, INSIDE)
    assert len(seen.hidden_states) == layers_of(model) + 1 == 3 and len(seen.attention_scores) == 2
    assert [part.shape[-1] for part in seen.hidden_states] == list(widths_of(model, "hidden_states"))
    assert torch.allclose(seen.logits, wanted.logits, atol=1e-5)
    for ours, theirs in zip(seen.hidden_states, wanted.hidden_states, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    for scores, attention in zip(seen.attention_scores, wanted.attentions, strict=True):
        ours = scores.masked_fill(~seen.mask[:, None, None, :], -1e9).softmax(-1)
        assert torch.allclose(ours, attention, atol=1e-5)
    names = STOCK_ENCODERS[kind].layer
    for part, ours in (("query", seen.queries), ("key", seen.keys), ("value", seen.values)):
        made = stock_layers(model)[1].get_submodule(names[part])(wanted.hidden_states[1])
        assert torch.allclose(ours[1], made, atol=1e-5)
    assert seen.attention_outputs[1].shape == (4, batch["input_ids"].shape[1], 24)
    assert torch.allclose(seen.attention_outputs[1].mean(-1), torch.zeros(()), atol=1e-5)
    assert sum(len(module._forward_hooks) for module in model.modules()) == hooks


def test_relative_positions_are_in_mpnets_scores(folders: dict[str, Path], batch: Batch) -> None:
    model = classifier(folders["mpnet"])
    seen = extract(model, batch, INSIDE)
    products = split_heads(seen.queries[0], 4) @ split_heads(seen.keys[0], 4).transpose(-1, -2) / math.sqrt(6)
    bias = seen.attention_scores[0] - products
    table = model.base_model.encoder.relative_attention_bias.weight
    assert torch.allclose(bias[:, :, 2, 2], table[0].expand(4, 4), atol=1e-5)
    assert torch.allclose(bias[:, :, 3, 1], bias[:, :, 4, 2], atol=1e-5) and bias.std() > 0.1


@pytest.mark.parametrize("kind", MODELS)
def test_padding_does_not_leak(kind: str, folders: dict[str, Path], task: Task) -> None:
    model = load_stock(folders[kind]) if kind == "llama" else classifier(folders[kind])
    encoded = encode(load_tokenizer(folders[kind]), task.validation, 20)
    order = np.argsort(encoded.lengths)
    wants = INSIDE if kind in KNOWN else frozenset({"hidden_states"})
    with torch.no_grad():
        alone, padded = (extract(model, encoded.batch(some), wants) for some in (order[:1], order[[0, -1]]))
    length = int(encoded.lengths[order[0]])
    assert padded.mask.shape[1] > length
    for name in wants - {"attention_scores"}:
        for one, other in zip(getattr(alone, name), getattr(padded, name), strict=True):
            assert torch.allclose(one[0], other[0, :length], atol=1e-4)
    places = (slice(length),) if kind == "llama" else ()
    assert torch.allclose(alone.logits[0], padded.logits[0][places], atol=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES.names())
@pytest.mark.parametrize("kind", ["mpnet", "distilbert"])
def test_every_objective_learns_from_them(name: str, kind: str, folders: dict[str, Path], batch: Batch) -> None:
    teacher = classifier(folders[kind])
    student = build_student(
        uniform_spec(2, 16, 2, 24, vocabulary_size=27, maximum_positions=40, head=Head("classification", 2))
    )
    lesson = Lesson(student, (Term(name, matching="uniform"),), teacher)
    loss = lesson(**batch, share_done=torch.tensor(0.0))["loss"]
    loss.backward()
    assert torch.isfinite(loss) and any(p.grad is not None and p.grad.any() for p in student.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_of_other_types_hidden_states_are_known(folders: dict[str, Path], batch: Batch) -> None:
    for kind in ("deberta-v2", "llama"):
        model = load_stock(folders[kind]) if kind == "llama" else classifier(folders[kind])
        assert [state.shape for state in extract(model, batch, frozenset({"hidden_states"})).hidden_states] == [
            (*batch["input_ids"].shape, 24)
        ] * 3
        with pytest.raises(UserError, match=f"of a teacher of type '{kind}' only answers and hidden states are known"):
            extract(model, batch, frozenset({"keys"}))


def test_what_cannot_be_cut_from_a_teacher_is_said_before_anything_is_trained(
    folders: dict[str, Path], task: Task, quiet: Progress
) -> None:
    looked = check_teacher(str(folders["electra"]), task, TAUGHT, quiet)
    spec = uniform_spec(1, 16, 2, 32, **vars(looked.inputs), head=Head("classification", 2))
    for start in ("sliced", "refitted"):
        with pytest.raises(UserError, match="the teacher's words are 16 wide and its layers 24, and no student"):
            check_start(start, spec, looked.cut_from)
        check_start(start, replace(spec, embedding_width=12), looked.cut_from)
    with pytest.raises(UserError, match="needs a student with the teacher.s widths"):
        check_start("teacher-layers", spec, looked.cut_from)
    assert check_teacher(str(folders["electra"]), task, RECIPES["from-random"], quiet).cut_from is None


def test_students_read_what_their_teachers_read(folders: dict[str, Path]) -> None:
    expected = {"mpnet": (40, 1), "roberta": (40, 1), "electra": (40, 2), "distilbert": (40, 1), "llama": (512, 1)}
    for kind, (positions, types) in expected.items():
        found = students_inputs(without_weights(folders[kind]), load_tokenizer(folders[kind]))
        assert (found.vocabulary_size, found.maximum_positions, found.token_types) == (27, positions, types)
    longest = torch.full((1, 40), 5)
    model = classifier(folders["mpnet"])
    assert positions_of(model) == 40 and model(longest).logits.shape == (1, 2)
    with pytest.raises(IndexError):
        model(torch.full((1, 41), 5))


def test_a_missing_head_is_drawn_from_the_seed_alone(folders: dict[str, Path]) -> None:
    head, names = Head("classification", 3), ("a", "b", "c")
    state = torch.get_rng_state()
    (first, fitted), (same, _), (other, _) = (stock_with_head(folders["mpnet"], head, names, n) for n in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state) and not fitted
    assert torch.equal(first.classifier.out_proj.weight, same.classifier.out_proj.weight)
    assert not torch.equal(first.classifier.out_proj.weight, other.classifier.out_proj.weight)
    encoders = (model.base_model.state_dict() for model in (first, other))
    assert all(torch.equal(one, two) for one, two in zip(*(state.values() for state in encoders), strict=True))
    assert first.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_a_fitting_head_is_kept_and_another_replaced(tmp_path: Path) -> None:
    folder = write_stock("roberta", tmp_path / "roberta", WORDS, RobertaForSequenceClassification, num_labels=3)
    saved = load_stock(folder).classifier.out_proj.weight
    model, fitted = stock_with_head(folder, Head("classification", 3), ("a", "b", "c"), 0)
    assert fitted and torch.equal(model.classifier.out_proj.weight, saved)
    model, fitted = stock_with_head(folder, Head("classification", 2), ("a", "b"), 0)
    assert not fitted and model.classifier.out_proj.weight.shape == (2, 24)
    model, fitted = stock_with_head(folder, Head("tokens", 3), ("a", "b", "c"), 0)
    assert not fitted and model.classifier.weight.shape == (3, 24)


def test_from_mpnet_to_a_student_by_every_start(
    folders: dict[str, Path], task: Task, quiet: Progress, tmp_path: Path
) -> None:
    teacher = prepare_teacher(str(folders["mpnet"]), task, quiet, training=TRAINING)
    assert teacher.validation_score > 0.8 and is_stock(teacher.folder)
    again = prepare_teacher(str(folders["mpnet"]), task, quiet, training=TRAINING)
    assert again == teacher
    model = teacher.model()
    assert type(model).__name__ == "MPNetForSequenceClassification" and model.config.id2label == {0: "bad", 1: "good"}
    assert teacher.parameters == sum(parameter.numel() for parameter in model.parameters())
    found = evaluate(model, teacher.tokenizer(), task.validation, teacher.maximum_length)
    assert found.score == pytest.approx(teacher.validation_score)
    inputs = check_teacher(str(folders["mpnet"]), task, TAUGHT, quiet).inputs
    read = {"vocabulary_size": 27, "maximum_positions": 40, "token_types": 1, "head": Head("classification", 2)}
    assert vars(inputs).items() <= read.items()
    narrow, as_wide = uniform_spec(1, 16, 2, 32, **read), uniform_spec(1, 24, 4, 48, **read)
    starts = (("sliced", narrow, 0.7), ("random", narrow, 0.4), ("teacher-layers", as_wide, 0.7))
    for start, spec, least in starts:
        recipe = replace(TAUGHT, initialization=start, terms=(Term("logits"), Term("hidden", 0.1)))
        done = distil(spec, teacher, task, recipe, tmp_path / start, vocabulary="data")
        assert done.validation_score > least and np.isfinite(done.divergence)
        student = load_model(done.folder)
        assert evaluate(student, teacher.tokenizer(), task.test, teacher.maximum_length).score > least - 0.1
    room = classroom(teacher, task)
    whole = room.start(replace(as_wide, layers=as_wide.layers * 2), TAUGHT, 0)
    ours, theirs = (one(room.train.batch([0, 1])["input_ids"]).logits for one in (whole, room.student_form))
    assert torch.allclose(ours, theirs, atol=1e-4)


def texts(folder: Path) -> Path:
    """A file of plain sentences in which one word follows from another."""
    rng = np.random.default_rng(0)
    lines = [" ".join(WORDS[(start + step) % len(WORDS)] for step in range(9)) for start in rng.integers(22, size=300)]
    (folder / "data.txt").write_text("\n".join(f"{line} {number % 7 * 'a '}" for number, line in enumerate(lines)))
    return folder / "data.txt"


def test_from_a_llama_to_a_student_that_writes(folders: dict[str, Path], quiet: Progress, tmp_path: Path) -> None:
    task = load_task(str(texts(tmp_path)), quiet, "causal-lm")
    source = str(folders["llama"])
    teacher = prepare_teacher(source, task, quiet)
    assert type(teacher.model()).__name__ == "LlamaForCausalLM"
    taken = teacher.model().state_dict()
    assert all(torch.equal(taken[name], value) for name, value in load_stock(folders["llama"]).state_dict().items())
    recipe = replace(TAUGHT, terms=(Term("logits", 0.2), Term("labels")), initialization="random")
    inputs = check_teacher(source, task, recipe, quiet).inputs
    spec = uniform_spec(
        1, 16, 2, 32, embedding_width=8, vocabulary_size=inputs.vocabulary_size,
        maximum_positions=inputs.maximum_positions, token_types=inputs.token_types, head=Head("causal-lm"),
    )  # fmt: skip
    with pytest.raises(UserError, match="no student can be cut from a teacher of type 'llama'"):
        distil(spec, teacher, task, replace(recipe, initialization="sliced"), tmp_path / "cut", steps=1)
    done = distil(spec, teacher, task, recipe, tmp_path / "student", steps=40)
    student = load_model(done.folder)
    score = evaluate(student, teacher.tokenizer(), task.test, teacher.maximum_length, "causal-lm").score
    assert score == pytest.approx(evaluate(student, teacher.tokenizer(), task.test, 128, "causal-lm").score, rel=0.2)
    assert score > 1.3 / 27 and np.isfinite(done.divergence)


def test_masked_words_are_learnt_in_checkpoints_with_tied_tables(
    quiet: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.teachers.CHECKPOINT_STEPS", 10)
    folder = write_stock("mpnet", tmp_path / "mpnet", WORDS)
    task = load_task(str(texts(tmp_path)), quiet, "masked-lm")
    teacher = prepare_teacher(str(folder), task, quiet, training=replace(TRAINING, epochs=16))
    model = teacher.model()
    assert isinstance(model, MPNetForMaskedLM)
    assert model.lm_head.decoder.weight is model.mpnet.embeddings.word_embeddings.weight
    assert teacher.validation_score > 1.3 / 27


def test_a_teacher_reads_renumbered_words_as_its_own(folders: dict[str, Path], task: Task) -> None:
    model = classifier(folders["mpnet"])
    student = build_student(uniform_spec(1, 16, 2, 24, vocabulary_size=27, maximum_positions=40))
    encoded = encode(load_tokenizer(folders["mpnet"]), task.validation, 20)
    few = Encoded(encoded.ids[: encoded.offsets[2]], encoded.types[: encoded.offsets[2]], encoded.offsets[:3],
                  encoded.labels[:2], encoded.padding_id)  # fmt: skip
    assert len(used_words([few])) < 27

    def seen(split: Encoded) -> Features:
        with torch.no_grad():
            return extract(model, split.batch([0, 1]), INSIDE)

    before = seen(few)
    with trained_words("data", [student, model], [few]) as renumber:
        during = seen(renumber(few))
    for name in ("logits", "hidden_states"):
        for one, other in zip(getattr(before, name), getattr(during, name), strict=True):
            assert torch.equal(one, other)
    assert torch.equal(seen(few).logits, before.logits)


@pytest.mark.parametrize(
    ("kind", "task", "recipe", "words"),
    [
        ("roberta", "causal-lm", None, "'roberta' reads whole texts, and causal-lm needs one that writes them on"),
        ("llama", "classification", None, "'llama' writes texts on, .* for classification give an encoder"),
        ("llama", "causal-lm", "default", "no student can be cut .* 'llama', and the recipe 'default' starts so"),
        ("deberta-v2", "tokens", "default", "choose one that starts from random weights, such as from-random"),
        ("deberta-v2", "tokens", "minilmv2", "of a teacher of type 'deberta-v2' only answers and hidden states"),
    ],
)
def test_what_cannot_be_taught_is_said_at_once(
    kind: str, task: str, recipe: str | None, words: str, folders: dict[str, Path]
) -> None:
    with pytest.raises(UserError, match=words):
        check_stock(folders[kind], task, None if recipe is None else RECIPES[recipe])


def test_what_is_no_model_here_is_said(tmp_path: Path, task: Task, quiet: Progress) -> None:
    for name, settings, words in (
        ("unknown", '{"model_type": "no-such"}', "cannot be read .*no-such"),
        ("code", '{"model_type": "no-such", "auto_map": {"AutoConfig": "configuration_x.X"}}', "cannot be read"),
        ("t5", '{"model_type": "t5"}', "'t5' is neither an encoder nor a decoder of texts"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(settings)
        (tmp_path / name / "configuration_x.py").write_text("raise SystemExit('code of a model was run')")
        with pytest.raises(UserError, match=words) as caught:
            prepare_teacher(str(tmp_path / name), task, quiet)
        assert "\n" not in str(caught.value)


def test_weights_that_are_missing_or_pickled_are_refused(task: Task, quiet: Progress, tmp_path: Path) -> None:
    model = load_stock(write_stock("roberta", tmp_path / "whole", WORDS, RobertaForSequenceClassification))
    state = {name: value for name, value in model.state_dict().items() if "layer.1" not in name}
    model.save_pretrained(tmp_path / "half", state_dict=state)
    load_tokenizer(tmp_path / "whole").save_pretrained(tmp_path / "half")
    with pytest.raises(UserError, match="lacks weights, roberta.encoder.layer.1"):
        prepare_teacher(str(tmp_path / "half"), task, quiet)
    (tmp_path / "half" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "half" / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be read"):
        prepare_teacher(str(tmp_path / "half"), task, quiet)


@pytest.mark.skipif(find_spec("gguf") is not None, reason="the package that is to be missed is installed")
def test_a_gguf_file_without_its_package_is_said(tmp_path: Path, task: Task, quiet: Progress) -> None:
    (tmp_path / "model.Q4_1.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match=r"takes a package to read: pip install 'tailorbird\[gguf\]'"):
        prepare_teacher(str(tmp_path), task, quiet)
