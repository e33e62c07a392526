"""What the parent asks of a measuring process, and the lines it answers with: plain JSON both ways."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devices.stopwatch import Policy, Reading
from devices.workload import Workload
from export.items import Item, item_from_json, item_to_json


@dataclass(frozen=True)
class Task:
    """The rounds still missing for each key in one workload, and the reference's key and first round if it has one."""

    workload: Workload
    missing: Mapping[str, tuple[int, ...]]
    reference: tuple[str, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """`from_json` is the inverse."""
        missing = {key: list(rounds) for key, rounds in self.missing.items()}
        return {"workload": self.workload.to_json(), "missing": missing, "reference": self.reference}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Task":
        """Read `to_json`'s form."""
        missing = {key: tuple(rounds) for key, rounds in value["missing"].items()}
        reference = tuple(value["reference"]) if value["reference"] else None
        return cls(Workload(**value["workload"]), missing, reference)


@dataclass(frozen=True)
class Job:
    """Everything one measuring process does; `seed` draws the random weights, `seed` and `process` the order."""

    target: str
    items: Mapping[str, Item]
    tasks: tuple[Task, ...]
    policy: Policy
    process: int
    seed: int

    def to_line(self) -> str:
        """One line of JSON; `from_line` is the inverse."""
        return json.dumps(
            {
                "target": self.target,
                "items": {key: item_to_json(item) for key, item in self.items.items()},
                "tasks": [task.to_json() for task in self.tasks],
                "policy": self.policy.to_json(),
                "process": self.process,
                "seed": self.seed,
            }
        )

    @classmethod
    def from_line(cls, line: str) -> "Job":
        """Read `to_line`'s form."""
        value = json.loads(line)
        return cls(
            value["target"],
            {key: item_from_json(item) for key, item in value["items"].items()},
            tuple(Task.from_json(task) for task in value["tasks"]),
            Policy(**value["policy"]),
            value["process"],
            value["seed"],
        )


@dataclass(frozen=True)
class Answer:
    """One line from a measuring process: a reading of the task with that number, or an error for the user."""

    task: int = 0
    reading: Reading | None = None
    error: str | None = None

    def to_line(self) -> str:
        """One line of JSON; `from_line` is the inverse."""
        reading = None if self.reading is None else vars(self.reading)
        return json.dumps({"task": self.task, "reading": reading, "error": self.error})

    @classmethod
    def from_line(cls, line: str) -> "Answer":
        """Read `to_line`'s form."""
        value = json.loads(line)
        reading = None if value["reading"] is None else Reading(**value["reading"])
        return cls(value["task"], reading, value["error"])
