"""Cutting a student out of a teacher: the channels, heads and neurons that matter most, of the layers chosen."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from runs.errors import UserError
from students.cutting import Choice, Kept, best_first, cut_linear, cut_norm, cut_table, keep, top
from students.head_modules import LanguageHeadModule, TokenHeadModule
from students.headed import StudentWithHead
from students.importance import FIRST_TOKEN, Importance, importance
from students.layer_cuts import LAYER_CUTS, Origin
from students.layers import EmbeddingModule, HeadModule, TransformerLayerModule
from students.model import StudentPreTrainedModel, build_student, encoder_of
from students.spec import StudentSpec, transformer_layers

__all__ = ["Importance", "best_first", "importance", "require_sliceable", "slice_student"]


def slice_student(
    teacher_model: StudentPreTrainedModel,
    spec: StudentSpec,
    importance: Importance,
    layer_map: Sequence[int],
    choose: Choice = top,
    rescale: bool = True,
) -> StudentPreTrainedModel:
    """A student of `spec`'s shapes cut from the teacher; student layer i comes from teacher layer `layer_map[i]`.

    The same hidden channels are kept throughout, those of the highest summed score where the chosen layers use them.
    What a dropped channel, head or neuron would have told the next projection is told by the kept ones, by least
    squares over the batches of `importance`; layer norms are corrected for the spread of the channels they still see.
    Layers of other types take what they have in common with the teacher's (`students.layer_cuts`), and layers that
    share weights start as the first of them. Where the student is wider than the teacher the rest is small and random;
    a classifier for other labels is random.
    With nothing to drop the result is the teacher, bit by bit, but for its dropout: a student has none. Deterministic.
    A supernet (`students.leading`) needs what is kept in the order of its worth, `choose=best_first`, and queries as
    they are, `rescale=False`: its parts have head widths of their own, and each divides by its own.

    Raises `UserError` for a teacher of layers other than transformers, a `layer_map` of the wrong length or range,
    another vocabulary, more positions or token types than the teacher's, or a plain embedding from a factorised one.
    """
    _check(teacher_model.config.spec_object, spec, layer_map)
    same_labels = spec.head == teacher_model.config.spec_object.head
    names = tuple((teacher_model.config.id2label or {}).values()) if same_labels and spec.head.kind != "none" else None
    student = build_student(spec, label_names=names)
    target, source = encoder_of(student), encoder_of(teacher_model)
    with torch.no_grad():
        hidden = choose(_hidden_scores(importance, layer_map), spec.hidden_width)
        _cut_embedding(target.embeddings, source.embeddings, importance, hidden, choose)
        read = importance.points[_stream_after_embedding(importance)]
        for place, layer in enumerate(layer_map):
            name, old = f"layers.{layer}", source.layers[layer]
            assert isinstance(old, TransformerLayerModule)
            if spec.owners[place] == place:
                origin = Origin(old, importance, name, hidden, read, keep(read, hidden), choose, rescale)
                LAYER_CUTS[spec.layers[place].type](target.layers[place], origin)
            read = importance.points[f"{name}.ffn_norm.out"]
        stream = keep(read, hidden)
        if isinstance(student, StudentWithHead) and isinstance(teacher_model, StudentWithHead):
            columns = embedding_columns(target.embeddings, importance, hidden, choose)
            _cut_head(student.head, teacher_model.head, importance, stream, columns, same_labels, choose)
    return student


def require_sliceable(spec: StudentSpec, teacher: StudentSpec | None = None) -> None:
    """Raise `UserError` for a student that cannot be cut out of `teacher`'s embedding."""
    if teacher and teacher.embedding_width != teacher.hidden_width and spec.embedding_width == spec.hidden_width:
        raise UserError(
            f"the teacher's words are {teacher.embedding_width} wide and its layers {teacher.hidden_width}, and no "
            "student whose words are as wide as its layers can be cut from it: give its spec an `embedding_width` "
            f"below {spec.hidden_width}, or choose a recipe that starts from random weights."
        )


def _check(teacher: StudentSpec, spec: StudentSpec, layer_map: Sequence[int]) -> None:
    transformer_layers(teacher, "slicing")
    require_sliceable(spec, teacher)
    if len(layer_map) != len(spec.layers):
        raise UserError(f"the layer map names {len(layer_map)} layers for a student of {len(spec.layers)}.")
    if not all(0 <= layer < len(teacher.layers) for layer in layer_map):
        raise UserError(f"the layer map {list(layer_map)} leaves the teacher's {len(teacher.layers)} layers.")
    if spec.vocabulary_size != teacher.vocabulary_size:
        raise UserError(f"the student has {spec.vocabulary_size} words, its teacher {teacher.vocabulary_size}.")
    if spec.maximum_positions > teacher.maximum_positions or spec.token_types > teacher.token_types:
        raise UserError("the student has more positions or token types than its teacher.")


def _stream_after_embedding(importance: Importance) -> str:
    return "embeddings.projection.out" if "embeddings.projection.out" in importance.points else "embeddings.norm.out"


def _hidden_scores(importance: Importance, layer_map: Sequence[int]) -> Tensor:
    """Score of each hidden channel, summed over the places where the chosen layers read the hidden state."""
    names = [_stream_after_embedding(importance)]
    names += [f"layers.{layer}.{norm}.out" for layer in layer_map for norm in ("attention_norm", "ffn_norm")]
    return torch.stack([importance.points[name].score for name in names]).sum(dim=0)


def embedding_columns(target: EmbeddingModule, importance: Importance, hidden: Tensor, choose: Choice = top) -> Tensor:
    """Channels of the word embedding that are kept: those of the hidden state, unless it is factorised."""
    normed = importance.points["embeddings.norm.out"]
    return hidden if target.projection is None else choose(normed.score, target.word.embedding_dim)


def _cut_embedding(
    target: EmbeddingModule, source: EmbeddingModule, importance: Importance, hidden: Tensor, choose: Choice
) -> None:
    normed = importance.points["embeddings.norm.out"]
    columns = embedding_columns(target, importance, hidden, choose)
    cut_table(target.word, source.word, columns)
    cut_table(target.position, source.position, columns)
    cut_table(target.token_type, source.token_type, columns)
    cut_norm(target.norm, source.norm, importance.points["embeddings.norm.in"], columns)
    if target.projection is not None:
        kept = keep(normed, columns)
        if source.projection is not None:
            cut_linear(target.projection, source.projection, kept, hidden)
        else:
            target.projection.weight[: len(hidden), : len(columns)] = kept.matrix[hidden].float()
            target.projection.bias[: len(hidden)] = kept.offset[hidden].float()


def _cut_head(
    target: nn.Module,
    source: nn.Module,
    importance: Importance,
    stream: Kept,
    columns: Tensor,
    same_labels: bool,
    choose: Choice,
) -> None:
    """Heads of one make; another make, or a classifier of other labels, stays random. `stream` is what they read."""
    points = importance.points
    if isinstance(target, HeadModule) and isinstance(source, HeadModule):
        pooled = points["head.classifier.in"]
        chosen = choose(pooled.score, len(stream.index))
        cut_linear(target.pooler, source.pooler, keep(points[FIRST_TOKEN], stream.index), chosen)
        if same_labels:
            cut_linear(target.classifier, source.classifier, keep(pooled, chosen), _all(source.classifier))
    elif isinstance(target, TokenHeadModule) and isinstance(source, TokenHeadModule):
        if same_labels:
            cut_linear(target.classifier, source.classifier, stream, _all(source.classifier))
    elif isinstance(target, LanguageHeadModule) and isinstance(source, LanguageHeadModule):
        # What is compared with words must have the words' own channels.
        cut_linear(target.transform, source.transform, stream, columns)
        cut_norm(target.norm, source.norm, points["head.norm.in"], columns)
        target.bias.copy_(source.bias)


def _all(linear: nn.Linear) -> Tensor:
    return torch.arange(linear.out_features)
