"""Where the parts of one target's benchmark lie, and what is read from them again."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """The folder of one target."""

    target: str
    folder: Path

    @classmethod
    def of(cls, target: str, output: Path) -> "Place":
        """Under `output`, by the target's name."""
        return cls(target, output / file_name(target))

    @property
    def profile(self) -> Path:
        """The profile that everything is learnt from."""
        return self.folder / "profile"

    @property
    def again(self) -> Path:
        """A second profile of the same target."""
        return self.folder / "profile-again"

    @property
    def held_out(self) -> Path:
        """The students that no fit sees."""
        return self.folder / "held-out"


def file_name(target: str) -> str:
    """A target's name as a name for files: `cpu-compile` for `cpu:compile`."""
    return re.sub(r"[^A-Za-z0-9]+", "-", target)
