"""Single cells of a table: whether one is missing or a text, and how an error quotes it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

MOST_SHOWN = 60
"""Characters of a value in an error."""

MOST_LISTED = 8
"""Names in an error."""


def plain(value: Any) -> Any:
    """A value without NumPy around it."""
    return value.item() if isinstance(value, np.generic) else value


def is_missing(value: Any) -> bool:
    """Whether a label is not there: None, an empty text, no number, no date; a list or an array is something."""
    if isinstance(value, str):
        return not value.strip()
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def is_text(value: Any) -> bool:
    """Whether it is a text that can be written down: half of a pair of surrogates cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any) -> str:
    """A value as an error quotes it, on one line and not at length."""
    text = " ".join(repr(value).split())
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…{text[-1]}"


def listed(names: Iterable[Any]) -> str:
    """The first few names as an error lists them."""
    given = list(names)
    return ", ".join([shown(str(name))[1:-1] for name in given[:MOST_LISTED]] + ["…"] * (len(given) > MOST_LISTED))
