"""One registry for every kind of variant: a name, what it makes, and a helpful sentence for an unknown name."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Generic, TypeVar

from runs.errors import UserError

Entry = TypeVar("Entry")


def unknown_name(kind: str, name: str, known: list[str]) -> UserError:
    """The error for a name that is not in `known`: the nearest names first."""
    nearest = get_close_matches(name, known, n=max(1, len(known)), cutoff=0.5)
    ordered = nearest + [other for other in known if other not in nearest]
    return UserError(f"unknown {kind} {name!r}: use one of {', '.join(ordered)}.")


class Registry(Generic[Entry]):
    """Variants of one kind by name; contract tests run over every entry."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Decorator that files a function, class or value under `name`."""

        def file(entry: Entry) -> Entry:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return file

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise unknown_name(self.kind, name, self.names())
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def names(self) -> list[str]:
        """Every name, in order of registration."""
        return list(self._entries)
