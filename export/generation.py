"""Running causal graphs in ONNX Runtime: whole texts piece by piece through the cache, and greedy generation."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from export.builder import Array
from export.graph_file import PAST, no_cache
from runs.errors import UserError
from students.causal import attending_layers
from students.spec import StudentSpec

PRESENT = "present."


def keeps_cache(session: Any) -> bool:
    """Whether a session's graph takes earlier keys and values."""
    return any(given.name.startswith(PAST) for given in session.get_inputs())


def empty_cache(session: Any, batch_size: int) -> dict[str, Array]:
    """The cache before the first token, by input name: [batch, heads, 0, head width]."""
    past = [given for given in session.get_inputs() if given.name.startswith(PAST)]
    return {given.name: np.zeros((batch_size, given.shape[1], 0, given.shape[3]), dtype=np.float32) for given in past}


def graph_feed(spec: StudentSpec, tokens: Mapping[str, Array], earlier: int = 0) -> dict[str, Array]:
    """Ids, mask and token types, int64 [B, S], as a spec's graph takes them: a causal one beside a cache of `earlier`
    tokens, all of them real. `UserError` for such tokens of a model without a cache."""
    if spec.head.kind != "causal-lm":
        if earlier:
            raise no_cache(f"a student with the head {spec.head.kind!r}")
        return dict(tokens)
    mask = tokens["attention_mask"]
    before = np.ones((len(mask), earlier), dtype=mask.dtype)
    feed = {"input_ids": tokens["input_ids"], "attention_mask": np.concatenate([before, mask], axis=1)}
    for place, (_, layer) in enumerate(attending_layers(spec)):
        shape = (len(mask), layer.heads, earlier, layer.qkv_width // layer.heads)
        feed |= {f"{PAST}{place}.{role}": np.zeros(shape, dtype=np.float32) for role in ("key", "value")}
    return feed


def step(
    session: Any, input_ids: Array, attention_mask: Array, cache: Mapping[str, Array]
) -> tuple[Array, dict[str, Array]]:
    """int64 [B, S] new tokens, mask [B, P + S] over all, cache of P → logits [B, S, V] and the cache of P + S."""
    given = {"input_ids": input_ids, "attention_mask": attention_mask, **cache}
    names = [value.name for value in session.get_outputs()]
    answers = dict(zip(names, session.run(names, given), strict=True))
    presents = (name for name in names if name.startswith(PRESENT))
    return answers["logits"], {PAST + name.removeprefix(PRESENT): answers[name] for name in presents}


def pieces(session: Any, length: int) -> list[int]:
    """The sizes in which a text of `length` tokens is fed: two halves, or what the graph is made for.

    Raises `UserError` where a graph made for a number of tokens cannot be fed as many.
    """
    declared = next(given.shape[1] for given in session.get_inputs() if given.name == "input_ids")
    if not isinstance(declared, int):
        half = length // 2
        return [size for size in (half, length - half) if size]
    if length % declared:
        raise UserError(f"this graph takes {declared} tokens a call: {length} tokens do not divide into such calls.")
    return [declared] * (length // declared)


def run_through_cache(session: Any, input_ids: Array, attention_mask: Array) -> Array:
    """Logits [B, S, V] of whole texts, int64 [B, S] both, fed piece by piece, so that the cache is used as well."""
    cache, done, logits = empty_cache(session, len(input_ids)), 0, []
    for size in pieces(session, input_ids.shape[1]):
        fresh = input_ids[:, done : done + size]
        done += size
        found, cache = step(session, fresh, attention_mask[:, :done], cache)
        logits.append(found)
    return np.concatenate(logits, axis=1)


def generate_greedily(
    session: Any, input_ids: Array, attention_mask: Array, steps: int, stop_id: int | None = None
) -> Array:
    """The most likely next `steps` tokens after each prompt, int64 [B, at most `steps`].

    Prompts are int64 [B, S], padded on either side; their mask has 1 for real tokens. After `stop_id` a text is filled
    with it, and when all have it the rest is left out. Raises `UserError` for a prompt without a real token.
    """
    if not attention_mask.any(axis=1).all():
        raise UserError("a prompt holds no token: give at least one real token a text.")
    rows = np.arange(len(input_ids))
    logits, cache = step(session, input_ids, attention_mask, empty_cache(session, len(input_ids)))
    last = input_ids.shape[1] - 1 - np.argmax(attention_mask[:, ::-1] != 0, axis=1)
    scores = logits[rows, last]
    written = np.zeros((len(rows), 0), dtype=np.int64)
    while written.shape[1] < steps:
        words = scores.argmax(axis=-1).astype(np.int64)
        if stop_id is not None and written.shape[1]:
            words = np.where((written == stop_id).any(axis=1), stop_id, words)
        written = np.concatenate([written, words[:, None]], axis=1)
        if stop_id is not None and (written == stop_id).any(axis=1).all():
            break
        if written.shape[1] < steps:
            attention_mask = np.concatenate([attention_mask, np.ones_like(words)[:, None]], axis=1)
            logits, cache = step(session, words[:, None], attention_mask, cache)
            scores = logits[:, -1]
    return written
