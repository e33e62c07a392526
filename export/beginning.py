"""The beginning of a student's graph: its inputs, its embedding, its mask, and the cache it may keep."""

from dataclasses import dataclass, field, replace

from export.blocks import add_block
from export.builder import FLOAT, INT64, Value
from export.form import Form
from export.part import Heads, Part, additive_mask
from students.spec import StudentSpec


@dataclass
class Cache:
    """The keys and values of each layer with attention, in the order in which layers run; only causal graphs fill it.

    `inputs` are `past.{i}.key` and `past.{i}.value`, [batch, heads, past, head width]; `outputs` are
    `present.{i}.key` and `present.{i}.value`, [batch, heads, total, head width].
    """

    form: Form
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)

    def grow(self, heads: Heads) -> tuple[list[str], list[str]]:
        """The names of the next layer's past and present, key before value."""
        place, width = len(self.inputs) // 2, heads.width // heads.heads
        batch = self.form.axes[0]
        past = [f"past.{place}.{role}" for role in ("key", "value")]
        present = [f"present.{place}.{role}" for role in ("key", "value")]
        self.inputs += [Value(name, FLOAT, (batch, heads.heads, "past", width)) for name in past]
        self.outputs += [Value(name, FLOAT, (batch, heads.heads, "total", width)) for name in present]
        return past, present


@dataclass(frozen=True)
class Begun:
    """A student's graph up to its first layer."""

    part: Part
    inputs: list[Value]
    embedded: str
    """[batch, sequence, h]."""
    mask: str
    """What layers add to attention scores."""
    cache: Cache


def begin_both_ways(part: Part, spec: StudentSpec, form: Form) -> Begun:
    """Inputs `input_ids`, `attention_mask`, `token_type_ids`, int64 [batch, sequence]; every token sees every token."""
    inputs = [Value(name, INT64, form.axes) for name in ("input_ids", "attention_mask", "token_type_ids")]
    embedding = replace(part, prefix="embeddings.")
    embedded = add_block(spec.blocks()[0], embedding, "input_ids", "token_type_ids")
    return Begun(part, inputs, embedded, additive_mask(part.builder, "attention_mask"), Cache(form))
