"""What the parent asks of a measuring process, and the lines it answers with: plain JSON both ways."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devices.measurement import Cell, Sample, Turn
from devices.stopwatch import Policy
from devices.workload import Workload
from export.items import Item, item_from_json, item_to_json


@dataclass(frozen=True)
class Setup:
    """What a measuring process knows from its start; `seed` draws the random weights, `seed` and `process` the order.

    Lowered graphs are kept in the folder `scratch`.
    """

    target: str
    process: int
    seed: int
    scratch: Path

    def to_line(self) -> str:
        """One line of JSON; `from_line` is the inverse."""
        return json.dumps({**vars(self), "scratch": str(self.scratch)})

    @classmethod
    def from_line(cls, line: str) -> "Setup":
        """Read `to_line`'s form."""
        value = json.loads(line)
        return cls(**{**value, "scratch": Path(value["scratch"])})


@dataclass(frozen=True)
class Task:
    """A cell, the rounds it lacks in a process, and the milliseconds of those it has."""

    cell: Cell
    missing: tuple[int, ...]
    known: Mapping[int, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """`from_json` is the inverse."""
        known = list(self.known.items())
        workload = self.cell.workload.to_json()
        return {"key": self.cell.key, "workload": workload, "missing": list(self.missing), "known": known}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Task":
        """Read `to_json`'s form."""
        cell = Cell(value["key"], Workload(**value["workload"]))
        return cls(cell, tuple(value["missing"]), dict(value["known"]))


@dataclass(frozen=True)
class Batch:
    """Cells whose models are open at once, how they are measured, and all items by key.

    The item `reference` runs beside them under the workloads of `first_rounds`, its rounds counted on from there.
    """

    items: Mapping[str, Item]
    tasks: tuple[Task, ...]
    policy: Policy
    reference: str | None = None
    first_rounds: Mapping[Workload, int] = field(default_factory=dict)

    def to_line(self) -> str:
        """One line of JSON; `from_line` is the inverse."""
        return json.dumps(
            {
                "items": {key: item_to_json(item) for key, item in self.items.items()},
                "tasks": [task.to_json() for task in self.tasks],
                "policy": self.policy.to_json(),
                "reference": self.reference,
                "first_rounds": [[workload.to_json(), first] for workload, first in self.first_rounds.items()],
            }
        )

    @classmethod
    def from_line(cls, line: str) -> "Batch":
        """Read `to_line`'s form."""
        value = json.loads(line)
        return cls(
            {key: item_from_json(item) for key, item in value["items"].items()},
            tuple(Task.from_json(task) for task in value["tasks"]),
            Policy(**value["policy"]),
            value["reference"],
            {Workload(**workload): first for workload, first in value["first_rounds"]},
        )


@dataclass(frozen=True)
class Answer:
    """One line from a measuring process: a sample, something to say, the end of its turn, or an error for the user.

    An empty one says that the process is ready.
    """

    sample: Sample | None = None
    note: str | None = None
    turn: Turn | None = None
    error: str | None = None

    def to_line(self) -> str:
        """One line of JSON; `from_line` is the inverse."""
        sample, turn = self.sample and self.sample.to_json(), self.turn and self.turn.to_json()
        return json.dumps({"sample": sample, "note": self.note, "turn": turn, "error": self.error})

    @classmethod
    def from_line(cls, line: str) -> "Answer":
        """Read `to_line`'s form."""
        value = json.loads(line)
        sample, turn = value["sample"], value["turn"]
        return cls(sample and Sample.from_json(sample), value["note"], turn and Turn(**turn), value["error"])
