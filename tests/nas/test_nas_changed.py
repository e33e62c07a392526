"""A killed search goes on with the space and data that it began with, or says what changed and touches nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_kinds import write
from tiny_search import QUIET, SPACE, tiny_search

from nas import full_distillation
from nas.search import search
from nas.settings import SearchSettings
from runs.errors import UserError


class Killed(BaseException):
    pass


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(settings: SearchSettings, words: str) -> None:
    folder = settings.folder()
    before = contents(folder)
    with pytest.raises(UserError, match=words):
        search(settings, QUIET)
    assert contents(folder) == before and "study.db" in before


def test_what_a_search_began_with_is_held_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write("classification", tmp_path)
    settings = replace(tiny_search(tmp_path, monkeypatch, SPACE), method="random", data=str(data))

    def dying(*given: Any, **named: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(full_distillation, "distil", dying)
        search(settings, QUIET)
    # All candidates are tried; their codes would be read as other members.
    file = Path(settings.space)
    file.write_text(SPACE.replace("ffn: [16, 32, 48]", "ffn: [16, 24, 32]"))
    refused(settings, "the space space has changed since this search began: give another --output, or let it be what")
    file.write_text(SPACE)
    whole = data.read_bytes()
    data.write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 1])
    refused(settings, "the data .* has changed since this search began: give another --output")
    data.write_bytes(whole)
    (verdict,) = search(settings, QUIET)
    assert verdict["within_budget"]
