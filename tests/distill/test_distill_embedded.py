"""The embedded task, read from the file as its package holds it."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from distill.embedded import DEFAULT_TASK, SNIPPETS_ARCHIVE, SNIPPETS_FILE, _member
from distill.tasks import load_task
from runs.errors import UserError
from runs.home import home_folder
from runs.progress import Progress


@pytest.fixture
def snippets() -> list[tuple[float, str]]:
    rng = np.random.default_rng(0)
    rows = [(round(float(rng.normal(0, 2)), 4), f"snippet {i}: quite a film") for i in range(400)]
    rows[7] = (0.0, "neither good nor bad")
    lines = [f"{number}\t{rating}\t{text}" for number, (rating, text) in enumerate(rows)]
    (home_folder("packages") / SNIPPETS_FILE).write_text("\n".join(lines) + "\n")
    return rows


@pytest.mark.parametrize("name", [None, DEFAULT_TASK])
def test_classes_are_the_signs_and_zero_is_dropped(
    name: str | None, snippets: list[tuple[float, str]], quiet: Progress
) -> None:
    task = load_task(name, quiet)
    parts = (task.train, task.validation, task.test)
    assert [len(part) for part in parts] == [319, 40, 40]
    assert task.label_names == ("negative", "positive") and task.licence == "MIT"
    ratings = {text: rating for rating, text in snippets}
    for part in parts:
        for text, label in zip(part.texts, part.labels, strict=True):
            assert (ratings[text] > 0) == bool(label)
    assert not any("neither" in text for part in parts for text in part.texts)


def test_a_member_is_found_inside_an_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo(f"package/{SNIPPETS_ARCHIVE}")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        assert _member(archive, SNIPPETS_ARCHIVE) == b"abc"


def test_without_network_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, quiet: Progress, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UserError, match="could not download .*--data FILE and --teacher FOLDER"):
        load_task(None, quiet)
    assert [path for path in home_folder("packages").iterdir() if path.suffix != ".lock"] == []
