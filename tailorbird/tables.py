"""Tables and figures on stdout, for people."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Result = dict[str, Any]

PIPED_WIDTH = 120
"""Characters of a line where there is no terminal to ask."""


def table(title: str, headers: list[str], rows: list[list[str]], *, figures: bool = True) -> None:
    """Print a table; with `figures` every column but the first is aligned to the right."""
    grid = Table(show_header=any(headers))
    for number, header in enumerate(headers):
        grid.add_column(header, justify="right" if figures and number > 0 else "left")
    for row in rows:
        grid.add_row(*row)
    console = Console(width=None if Console().is_terminal else PIPED_WIDTH, highlight=False)
    # A title of the table's own would be folded to the table's width.
    console.print(title, style="bold", markup=False)
    console.print(grid)


def ms(value: float) -> str:
    """Milliseconds."""
    return f"{value:.2f} ms"


def percent(share: float) -> str:
    """A share of 1."""
    return f"{100 * share:.1f} %"


def moment(one: Result, every: Sequence[Result]) -> str:
    """Which token of a text that is written on a measurement is of, as the end of a name; empty where none is asked."""
    if one["earlier_tokens"]:
        return f": the next {one['sequence_length']} after {one['earlier_tokens']} tokens"
    goes_on = any(other["file"] == one["file"] and other["earlier_tokens"] for other in every)
    return f": the first after {one['sequence_length']} tokens" if goes_on else ""


def workload(of: Result) -> str:
    """What was run, in words."""
    after = f" after {of['earlier_tokens']} tokens" if of.get("earlier_tokens") else ""
    return (
        f"batch {of['batch_size']}, sequence {of['sequence_length']}{after}, "
        f"{of['threads']} thread{'s' if of['threads'] > 1 else ''}, {of['precision']}"
    )
