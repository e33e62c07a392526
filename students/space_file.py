"""The YAML file that describes a search space: read, checked, and turned into plain choices."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, get_args

from runs.errors import UserError
from runs.files import content_hash, read_yaml
from students.layer_forms import NAMES, TRANSFORMER, LayerForm, read_form
from students.spec import Activation, BottleneckLayer

NO_LIMIT = 2**31

AS_HIDDEN = 0
"""In the place of an embedding's channels: as many as the hidden state has."""

RANGE = "{from: 128, to: 768, step: 32}"
"""How all numbers of a range are written, the last one among them."""

LONGEST = 10_000
"""Numbers of a range: nobody searches among more, and a slip of the pen must not fill the memory."""


@dataclass(frozen=True)
class QkvRule:
    """How the qkv width follows from hidden width and heads; one of the three numbers is not 0.

    `weight` is the rule's share of samples relative to the others'.
    """

    per_hidden: int = 0
    per_head: int = 0
    channels: int = 0
    weight: float = 1.0

    def width(self, hidden: int, heads: int) -> int:
        """Channels of queries over all heads together."""
        return self.per_hidden * hidden + self.per_head * heads + self.channels


@dataclass(frozen=True)
class Choices:
    """What each gene may be, numbers ascending. `alike`: one group of layer genes for all layers.

    `alike_share` is the share of samples that repeat one layer throughout where layers may differ.
    """

    layers: tuple[int, ...]
    hidden: tuple[int, ...]
    activation: tuple[Activation, ...]
    heads: tuple[int, ...]
    qkv: tuple[QkvRule, ...]
    ffn: tuple[int, ...]
    alike: bool
    alike_share: float = 0.0
    maximum_qkv: int = NO_LIMIT
    types: tuple[LayerForm, ...] = (TRANSFORMER,)
    attention_last: bool = False
    """Whether the last layer has attention: most heads read the first token, which must see all others by then."""
    embedding: tuple[int, ...] = (AS_HIDDEN,)
    """Channels of the words, fewer than hidden ones, with a projection after them; `AS_HIDDEN` comes last."""
    sharing: tuple[int, ...] = (1,)
    """How many neighbouring layers have the same weights, of the last ones perhaps fewer; 1 for each its own."""


def choices_hash(choices: Choices) -> str:
    """Changes with anything that members may be or how they are drawn."""
    # What spaces could not choose before is left out where they don't: they are still the same.
    later = {name: getattr(Choices, name) for name in ("embedding", "sharing")}
    said = {name: value for name, value in asdict(choices).items() if later.get(name) != value}
    said["types"] = [{key: one for key, one in form.items() if one or key != "narrow"} for form in said["types"]]
    return content_hash(said, 8)


def read_space_file(path: Path) -> Choices:
    """Read a space; whatever is wrong with the file is a `UserError` that names the file and the key."""
    data = read_yaml(path, "space file")
    required = {"layers", "hidden", "activation", "heads", "qkv", "ffn", "alike"}
    known = required | {"alike_share", "maximum_qkv", "types", "attention_last", "embedding", "sharing"}
    keys = set(data) if isinstance(data, dict) else set()
    for wrong, complaint in ((required - keys, "lacks"), (keys - known, "has an unknown key,")):
        if wrong:
            raise UserError(f"the space file {path} {complaint} {', '.join(sorted(map(str, wrong)))}.")
    share = data.get("alike_share", 0.0)
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise _wrong(path, "alike_share", "a number from 0 to 1")
    for key in ("alike", "attention_last"):
        if not isinstance(data.get(key, False), bool):
            raise _wrong(path, key, "true or false")
    activations = data["activation"]
    if not isinstance(activations, list) or not activations or not set(activations) <= set(get_args(Activation)):
        raise _wrong(path, "activation", f"a list out of {', '.join(get_args(Activation))}")
    sizes = {key: _ascending(path, key, data[key]) for key in ("layers", "hidden", "heads", "ffn")}
    limit = _ascending(path, "maximum_qkv", [data.get("maximum_qkv", NO_LIMIT)])[0]
    choices = Choices(
        activation=tuple(activations),
        qkv=_qkv_rules(path, data["qkv"]),
        alike=data["alike"],
        alike_share=float(share),
        maximum_qkv=limit,
        types=_forms(path, data["types"]) if "types" in data else (TRANSFORMER,),
        attention_last=data.get("attention_last", False),
        embedding=_embeddings(path, data.get("embedding", ["hidden"])),
        sharing=_ascending(path, "sharing", data.get("sharing", [1])),
        **sizes,
    )
    _check_pairs(path, choices)
    if choices.attention_last and not any(form.attends for form in choices.types):
        raise _wrong(path, "types", "such that some layer has attention, since attention_last is true")
    return choices


def _wrong(path: Path, key: str, wanted: str) -> UserError:
    return UserError(f"{key} in the space file {path} must be {wanted}.")


def _ascending(path: Path, key: str, values: Any) -> tuple[int, ...]:
    values = _listed(path, key, values)
    whole = isinstance(values, list) and all(type(value) is int and value > 0 for value in values)
    if not whole or not values or sorted(set(values)) != values:
        raise _wrong(path, key, f"whole numbers of at least 1, ascending, or as in {RANGE}")
    return tuple(values)


def _listed(path: Path, key: str, values: Any) -> Any:
    """A range as a list of its numbers, empty where it holds none; all else as it is."""
    if not isinstance(values, Mapping) or set(values) != {"from", "to", "step"}:
        return values
    first, last, step = values["from"], values["to"], values["step"]
    whole = all(type(one) is int for one in values.values()) and step > 0
    numbers = range(first, last + 1, step) if whole else range(0)
    if len(numbers) > LONGEST:
        raise _wrong(path, key, f"a range of at most {LONGEST:,} numbers")
    return list(numbers)


def _embeddings(path: Path, values: Any) -> tuple[int, ...]:
    """`hidden` and numbers of channels in any order, or a range of them."""
    values = _listed(path, "embedding", values)
    numbers = [value for value in values if value != "hidden"] if isinstance(values, list) else []
    if not isinstance(values, list) or not values or len(values) - len(numbers) > 1:
        raise _wrong(path, "embedding", "a list of 'hidden', at most once, and channels")
    narrow = _ascending(path, "embedding", numbers) if numbers else ()
    return narrow + (AS_HIDDEN,) * (len(numbers) < len(values))


def _forms(path: Path, values: Any) -> tuple[LayerForm, ...]:
    """Names of layer forms, as a list or a mapping to sampling weights."""
    wrong = _wrong(path, "types", f"a list, or a mapping to weights above 0, of different names such as {NAMES}")
    if not isinstance(values, list | Mapping) or not values:
        raise wrong
    weights = values if isinstance(values, Mapping) else dict.fromkeys(map(str, values), 1)
    forms = []
    for text, weight in weights.items():
        known = isinstance(weight, int | float) and not isinstance(weight, bool) and 0 < weight < inf
        form = read_form(str(text), float(weight)) if known else None
        if form is None:
            wanted = f"names such as {NAMES} (a convolution's number is odd), with weights above 0"
            raise _wrong(path, "types", f"different {wanted}, not {text}: {weight}")
        forms.append(form)
    if len({replace(form, weight=1.0) for form in forms}) < len(values):
        raise wrong
    return tuple(forms)


def _qkv_rules(path: Path, values: Any) -> tuple[QkvRule, ...]:
    """`hidden`, `64 per head` or a number of channels, as a list, a range, or a mapping to sampling weights."""
    values = _listed(path, "qkv", values)
    if not isinstance(values, list | Mapping) or not values:
        raise _wrong(path, "qkv", "a list, a range, or a mapping to weights, of 'hidden', '32 per head' or channels")
    weights = values if isinstance(values, Mapping) else dict.fromkeys(map(str, values), 1)
    rules = []
    for text, weight in weights.items():
        match = re.fullmatch(r"(hidden)|([1-9]\d*)( per head)?", str(text))
        if match is None or not isinstance(weight, int | float) or not weight > 0:
            raise _wrong(path, "qkv", f"of 'hidden', '32 per head' or channels, with weights above 0, not {text!r}")
        hidden, number, per_head = match.groups()
        if hidden:
            rules.append(QkvRule(per_hidden=1, weight=float(weight)))
        elif per_head:
            rules.append(QkvRule(per_head=int(number), weight=float(weight)))
        else:
            rules.append(QkvRule(channels=int(number), weight=float(weight)))
    return tuple(rules)


def _check_pairs(path: Path, choices: Choices) -> None:
    """Each width and depth needs something of everything, and no two rules or types may say the same: a member has one
    code."""
    if min(choices.sharing) > min(choices.layers):
        raise _wrong(path, "sharing", f"such that it has a number of at most {min(choices.layers)}, the fewest layers")
    if max(choices.sharing) > max(choices.layers):
        raise _wrong(path, "sharing", f"of numbers up to {max(choices.layers)}, the most layers")
    if AS_HIDDEN not in choices.embedding and choices.embedding[0] >= choices.hidden[0]:
        raise _wrong(path, "embedding", f"such that it has 'hidden', or less than {choices.hidden[0]} channels")
    if max(choices.embedding) >= max(choices.hidden):
        raise _wrong(path, "embedding", f"of fewer channels than {max(choices.hidden)}, the widest hidden state")
    for hidden in choices.hidden:
        possible = 0
        for heads in choices.heads:
            widths = [rule.width(hidden, heads) for rule in choices.qkv]
            fitting = [width for width in widths if width % heads == 0 and width <= choices.maximum_qkv]
            possible += len(fitting)
            parts = [form.part for form in choices.types if form.narrow]
            if any(width % (heads * part) for width in fitting for part in parts):
                raise _wrong(path, "types", f"such that narrow bottlenecks divide {heads} heads at hidden {hidden}")
            if sorted(set(fitting)) != fitting:
                raise _wrong(path, "qkv", f"ascending and without repetition at hidden {hidden}, {heads} heads")
        if not possible:
            raise _wrong(path, "qkv", f"divisible by some number of heads at hidden {hidden}")
        bottlenecks = [form for form in choices.types if form.type == BottleneckLayer.type]
        inner = [(hidden // form.part, form.count, form.narrow) for form in bottlenecks]
        if len(set(inner)) < len(inner) or any(width < 1 for width, *_ in inner):
            raise _wrong(path, "types", f"such that bottlenecks have different widths of at least 1 at hidden {hidden}")
