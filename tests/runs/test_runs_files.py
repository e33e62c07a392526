"""Files are whole or not there, and hashes do not depend on how a value was put together."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.errors import UserError
from runs.files import (
    content_hash,
    file_sha256,
    folder_atomic,
    read_json,
    remove_leftovers,
    write_bytes_atomic,
    write_json_atomic,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON)
def test_json_comes_back_as_it_was(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json_atomic(path, value)
    assert read_json(path) == value


@given(value=st.dictionaries(st.text(), st.integers(), min_size=2))
def test_a_hash_ignores_key_order(value):
    assert content_hash(value) == content_hash(dict(reversed(value.items())))


def test_a_hash_tells_values_apart():
    assert content_hash({"a": 1}) != content_hash({"a": 2})
    assert len(content_hash({})) == 12


def test_nan_is_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "value.json"
    write_json_atomic(path, {"loss": 1.0})
    with pytest.raises(ValueError):
        write_json_atomic(path, {"loss": float("nan")})
    assert read_json(path) == {"loss": 1.0}


def test_a_write_that_fails_leaves_the_old_file_and_no_scrap(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes_atomic(path, b"old")

    def broken(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        write_bytes_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_bytes_atomic(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no room is left to write .*file.*No space left"):
        write_bytes_atomic(tmp_path / "file", b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("file", b"old")]


@pytest.mark.parametrize("content", [None, b"", b'{"a": ', b"\xff\xfe"])
def test_a_file_that_is_missing_or_cut_short_is_named(tmp_path, content):
    path = tmp_path / "device.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"device profile .*device\.json"):
        read_json(path, "device profile")


def test_sha256_is_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    place = tmp_path / "student"
    for content in ("old", "new"):
        with folder_atomic(place) as scratch:
            (scratch / content).write_text(content)
            assert not (place / content).exists()
        assert [file.name for file in place.iterdir()] == [content]
    assert list(tmp_path.iterdir()) == [place]


def test_a_folder_whose_making_fails_leaves_the_old_one(tmp_path):
    place = tmp_path / "student"
    with folder_atomic(place) as scratch:
        (scratch / "old").write_text("old")
    with pytest.raises(RuntimeError), folder_atomic(place) as scratch:
        (scratch / "new").write_text("new")
        raise RuntimeError
    assert [file.name for file in place.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [place]


def test_leftovers_of_one_folder_alone_are_removed(tmp_path):
    for name in (".student.abc.part", ".student-2.abc.part", "student"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text("1")
    remove_leftovers(tmp_path / "student")
    assert {path.name for path in tmp_path.iterdir()} == {".student-2.abc.part", "student"}
