"""A run folder resumes what was done, refuses what is not its own, and never writes before refusing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runs.errors import UserError
from runs.files import write_json_atomic
from runs.folder import open_run

SETTINGS = {"target": "cpu", "seed": 0, "workload": {"threads": 1, "lengths": (32, 128)}}

HOLD = """
import sys
from runs.folder import open_run
with open_run(sys.argv[1], "search", {"seed": 0}):
    print("held", flush=True)
    sys.stdin.read()
"""


def everything(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_finished_stage_is_not_run_again(tmp_path):
    calls = []

    def work():
        calls.append("work")
        return {"sizes": (1, 2), "names": {3: "three"}}

    with open_run(tmp_path / "run", "search", SETTINGS) as run:
        assert run.result("work") is None
        assert run.seconds("work") == 0.0
        fresh = run.stage("work", work)
    with open_run(tmp_path / "run", "search", SETTINGS) as run:
        stored = run.stage("work", work)
        assert run.result("work") == stored
    assert calls == ["work"]
    assert fresh == stored == {"sizes": [1, 2], "names": {"3": "three"}}


def test_a_stage_that_failed_is_open_and_its_forerunners_are_kept(tmp_path):
    with pytest.raises(ZeroDivisionError), open_run(tmp_path, "search", SETTINGS) as run:
        run.stage("first", lambda: {"n": 1})
        run.stage("second", lambda: {"n": 1 / 0})
    with open_run(tmp_path, "search", SETTINGS) as run:
        assert run.result("first") == {"n": 1}
        assert run.result("second") is None


def test_a_result_that_is_not_json_leaves_the_record_as_it_was(tmp_path):
    with open_run(tmp_path, "search", SETTINGS) as run:
        before = (tmp_path / "run.json").read_bytes()
        with pytest.raises(ValueError):
            run.stage("bad", lambda: {"loss": float("nan")})
        assert run.result("bad") is None
        assert (tmp_path / "run.json").read_bytes() == before


def test_what_a_caller_changes_is_not_what_is_stored(tmp_path):
    with open_run(tmp_path, "search", SETTINGS) as run:
        run.stage("work", lambda: {"list": [1]})["list"].append(2)
        run.settings["target"] = "other"
        assert run.result("work") == {"list": [1]}
        assert run.settings["target"] == "cpu"


def test_the_record_has_the_documented_form(tmp_path):
    with open_run(tmp_path, "search", SETTINGS) as run:
        run.stage("work", lambda: {"n": 1})
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["kind"] == "search"
    assert record["schema"] == 1
    assert record["settings"]["workload"] == {"threads": 1, "lengths": [32, 128]}
    assert record["stages"]["work"]["result"] == {"n": 1}
    assert record["stages"]["work"]["seconds"] >= 0


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("profile", SETTINGS, ["is one of kind 'search', not 'profile'"]),
        ("search", {**SETTINGS, "seed": 1}, ["seed is 0 there and 1 here"]),
        ("search", {**SETTINGS, "workload": {"threads": 2, "lengths": [32, 128]}}, ["workload.threads is 1"]),
        ("search", {"target": "cpu", "seed": 0}, ["workload is", "not set here"]),
        ("search", {**SETTINGS, "space": "hybrid"}, ['space is not set there and "hybrid" here']),
    ],
)
def test_another_run_is_refused_and_nothing_is_written(tmp_path, kind, settings, words):
    with open_run(tmp_path, "search", SETTINGS):
        pass
    (tmp_path / ".lock").unlink()
    before = everything(tmp_path)
    with pytest.raises(UserError) as refusal, open_run(tmp_path, kind, settings):
        pass
    assert str(tmp_path) in str(refusal.value)
    assert all(word in str(refusal.value) for word in words), refusal.value
    assert everything(tmp_path) == before


def test_the_first_setting_that_differs_is_named_and_no_later_one(tmp_path):
    with open_run(tmp_path, "search", SETTINGS):
        pass
    with pytest.raises(UserError, match="target") as refusal, open_run(tmp_path, "search", {"target": "x", "seed": 9}):
        pass
    assert "seed" not in str(refusal.value)


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="belongs to something else"), open_run(tmp_path, "search", SETTINGS):
        pass
    assert everything(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize("content", ["", '{"kind": "sea', "[]", '{"kind": "search"}'])
def test_a_damaged_run_file_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json"), open_run(tmp_path, "search", SETTINGS):
        pass
    assert everything(tmp_path) == {"run.json": content.encode()}


def test_a_newer_schema_is_refused(tmp_path):
    write_json_atomic(tmp_path / "run.json", {"kind": "search", "schema": 2, "settings": {}, "stages": {}})
    with pytest.raises(UserError, match="schema 2"), open_run(tmp_path, "search", {}):
        pass


def test_a_file_in_the_folder_s_place_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"), open_run(tmp_path / "file", "search", SETTINGS):
        pass
    with pytest.raises(UserError, match="cannot write"), open_run(tmp_path / "file" / "below", "search", SETTINGS):
        pass


def test_what_a_killed_start_leaves_is_taken_over(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".run.json.abc.part").write_text('{"ki')
    with open_run(tmp_path, "search", SETTINGS) as run:
        run.stage("work", lambda: {})
    assert sorted(everything(tmp_path)) == [".lock", "run.json"]


def test_two_in_one_process_cannot_share_a_folder(tmp_path):
    with (
        open_run(tmp_path, "search", SETTINGS),
        pytest.raises(UserError, match="in use by another process"),
        open_run(tmp_path, "search", SETTINGS),
    ):
        pass


def test_a_folder_in_use_is_refused_until_its_process_is_killed(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="in use by another process"), open_run(tmp_path, "search", {"seed": 0}):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with open_run(tmp_path, "search", {"seed": 0}) as run:
        assert run.settings == {"seed": 0}
