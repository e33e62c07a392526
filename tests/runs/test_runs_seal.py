"""A seal holds as long as no file of its folder is changed, cut, added or gone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runs.seal import is_sealed, seal_folder


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a").write_bytes(b"two"),
        lambda folder: (folder / "a").unlink(),
        lambda folder: (folder / "b").write_bytes(b""),
        lambda folder: (folder / "inner" / "c").write_bytes(b"chang"),
        lambda folder: (folder / "seal").unlink(),
        lambda folder: (folder / "seal").write_text("{"),
        lambda folder: (folder / "seal").write_text(""),
        lambda folder: (folder / "seal").write_text("{}"),
    ],
)
def test_any_change_breaks_it(change: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "inner" / "c").write_bytes(b"large")
    assert not is_sealed(tmp_path, "seal")
    seal_folder(tmp_path, "seal")
    assert is_sealed(tmp_path, "seal") and is_sealed(tmp_path, "seal")
    change(tmp_path)
    assert not is_sealed(tmp_path, "seal")
