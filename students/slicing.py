"""Cutting a student out of a teacher: the channels, heads and neurons that matter most, of the layers chosen."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from runs.errors import UserError
from students.cutting import Choice, Kept, best_first, cut_linear, cut_norm, cut_table, keep, top
from students.head_modules import LanguageHeadModule, TokenHeadModule
from students.headed import StudentWithHead
from students.importance import FIRST_TOKEN, Importance, importance
from students.layers import EmbeddingModule, HeadModule, TransformerLayerModule
from students.model import StudentPreTrainedModel, build_student, encoder_of
from students.spec import StudentSpec, TransformerLayer, transformer_layers

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
    Where the student is wider than the teacher the rest is small and random; a classifier for other labels is random.
    With nothing to drop the result is the teacher, bit by bit, but for its dropout: a student has none. Deterministic.
    A supernet (`students.leading`) needs what is kept in the order of its worth, `choose=best_first`, and queries as
    they are, `rescale=False`: its parts have head widths of their own, and each divides by its own.

    Raises `UserError` for layers other than transformers, a student whose layers share weights, a `layer_map` of the
    wrong length or range, another vocabulary, more positions or token types than the teacher's, or a plain embedding
    from a factorised one.
    """
    _check(teacher_model.config.spec_object, spec, layer_map)
    same_labels = spec.head == teacher_model.config.spec_object.head
    names = tuple((teacher_model.config.id2label or {}).values()) if same_labels and spec.head.kind != "none" else None
    student = build_student(spec, label_names=names)
    target, source = encoder_of(student), encoder_of(teacher_model)
    with torch.no_grad():
        hidden = choose(_hidden_scores(importance, layer_map), spec.hidden_width)
        stream = _cut_embedding(target.embeddings, source.embeddings, importance, hidden, choose)
        for new, layer in zip(target.layers, layer_map, strict=True):
            old = source.layers[layer]
            assert isinstance(new, TransformerLayerModule) and isinstance(old, TransformerLayerModule)
            stream = _cut_layer(new, old, importance, f"layers.{layer}", hidden, stream, choose, rescale)
        if isinstance(student, StudentWithHead) and isinstance(teacher_model, StudentWithHead):
            columns = embedding_columns(target.embeddings, importance, hidden, choose)
            _cut_head(student.head, teacher_model.head, importance, stream, columns, same_labels, choose)
    return student


def require_sliceable(spec: StudentSpec, teacher: StudentSpec | None = None) -> None:
    """Raise `UserError` for a student that cannot be cut out of any teacher, or not out of `teacher`'s embedding."""
    others = [layer.type for layer in spec.layers if not isinstance(layer, TransformerLayer)]
    why = f"it has layers of type {others[0]}" if others else "its layers share weights" if spec.sharing else ""
    if why:
        raise UserError(
            f"this student cannot be cut from a teacher, since {why}: choose a recipe that starts from random weights."
        )
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
) -> Kept:
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
    return keep(importance.points[_stream_after_embedding(importance)], hidden)


def _cut_layer(
    target: TransformerLayerModule,
    source: TransformerLayerModule,
    importance: Importance,
    name: str,
    hidden: Tensor,
    stream: Kept,
    choose: Choice,
    rescale: bool,
) -> Kept:
    """Cut one layer that reads `stream`; what comes back is the stream that it writes."""
    points = importance.points
    context = points[f"{name}.output.in"]
    per_head = (source.heads, source.head_width)
    heads = choose(context.score.view(per_head).sum(dim=1), target.heads)
    matching = (points[f"{name}.query.out"].score + points[f"{name}.key.out"].score).view(per_head)
    matched, places = _head_channels(matching, heads, target.head_width, choose)
    carried, _ = _head_channels(context.score.view(per_head), heads, target.head_width, choose)
    # Scores are divided by the root of the head width, which is another one here.
    scale = math.sqrt(target.head_width / source.head_width) if rescale else 1.0
    cut_linear(target.query, source.query, stream, matched, places, scale)
    cut_linear(target.key, source.key, stream, matched, places)
    cut_linear(target.value, source.value, stream, carried, places)
    cut_linear(target.output, source.output, keep(context, carried, places), hidden)
    cut_norm(target.attention_norm, source.attention_norm, points[f"{name}.attention_norm.in"], hidden)

    neurons = points[f"{name}.contract.in"]
    chosen = choose(neurons.score, target.expand.out_features)
    cut_linear(target.expand, source.expand, keep(points[f"{name}.attention_norm.out"], hidden), chosen)
    cut_linear(target.contract, source.contract, keep(neurons, chosen), hidden)
    cut_norm(target.ffn_norm, source.ffn_norm, points[f"{name}.ffn_norm.in"], hidden)
    return keep(points[f"{name}.ffn_norm.out"], hidden)


def _head_channels(scores: Tensor, heads: Tensor, width: int, choose: Choice) -> tuple[Tensor, Tensor]:
    """The `width` best channels of each of the `heads` of `scores` [heads, head width], and their places."""
    chosen = [head * scores.shape[1] + choose(scores[head], width) for head in heads]
    places = [place * width + torch.arange(len(some)) for place, some in enumerate(chosen)]
    return torch.cat(chosen), torch.cat(places)


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
