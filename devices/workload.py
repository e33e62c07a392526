"""The circumstances of one inference: how much is run at once, after what, on how many threads, in which precision."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from runs.errors import UserError

Precision = Literal["fp32", "bf16", "fp16", "int8"]
"""What products are computed in; which of them a target has is the target's own."""


@dataclass(frozen=True, order=True)
class Workload:
    """Batch size in examples, sequence length in tokens, threads of one operator, precision of the products.

    `earlier_tokens` of each text are in a causal language model's cache already: what takes the next token of a text is
    a sequence length of 1 after so many.
    """

    batch_size: int = 1
    sequence_length: int = 128
    threads: int = 1
    precision: Precision = "fp32"
    earlier_tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "sequence_length", "threads"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                flag = "--" + name.replace("_", "-")
                raise UserError(f"{flag} is {value!r}: it must be a whole number of at least 1.")
        if type(self.earlier_tokens) is not int or self.earlier_tokens < 0:
            raise UserError(f"--earlier-tokens is {self.earlier_tokens!r}: it must be a whole number of at least 0.")
        if self.precision not in get_args(Precision):
            raise UserError(f"--precision is {self.precision!r}: use one of {', '.join(get_args(Precision))}.")

    @property
    def key(self) -> str:
        """Short name for stores and tables: `b1-s128-t1-fp32`."""
        after = f"-e{self.earlier_tokens}" if self.earlier_tokens else ""
        return f"b{self.batch_size}-s{self.sequence_length}-t{self.threads}-{self.precision}{after}"

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names; `Workload(**value)` is the inverse."""
        found = asdict(self)
        if not self.earlier_tokens:
            # Whatever was stored before there were any is of none.
            del found["earlier_tokens"]
        return found
