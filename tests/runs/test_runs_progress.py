"""Progress: standard error only, plain lines now and then in a log, bars on a terminal, silence when asked."""

import io

import pytest
from rich.console import Console

from runs.progress import Progress, duration_text


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def logged(clock: Clock) -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    return Progress(console=Console(file=out, force_terminal=False), clock=clock), out


def test_lines_come_at_most_every_ten_seconds_and_tell_the_time_left():
    clock = Clock()
    progress, out = logged(clock)
    with progress.task("measuring", total=100, done=40) as task:
        for _ in range(30):
            clock.seconds += 1
            task.advance()
        clock.seconds += 0.5
        task.advance(30)
    assert out.getvalue().splitlines() == [
        "measuring: 50/100, about 50 s left",
        "measuring: 60/100, about 40 s left",
        "measuring: 70/100, about 30 s left",
        "measuring: 100/100, took 30 s",
    ]


def test_what_comes_before_the_first_unit_is_not_counted_again():
    clock = Clock()
    progress, out = logged(clock)
    with progress.task("measuring", total=100) as task:
        clock.seconds += 30  # processes start
        task.advance()
        for _ in range(4):
            clock.seconds += 10
            task.advance(10)
    assert out.getvalue().splitlines() == [
        "measuring: 1/100, time left unknown",
        "measuring: 11/100, about 1 min 29 s left",
        "measuring: 21/100, about 1 min 19 s left",
        "measuring: 31/100, about 1 min 09 s left",
        "measuring: 41/100, about 59 s left",
        "measuring: 41/100, took 1 min 10 s",
    ]


def test_a_short_task_is_not_worth_a_line():
    clock = Clock()
    progress, out = logged(clock)
    with progress.task("reading", total=2) as task:
        task.advance(2)
    assert out.getvalue() == ""


def test_no_end_is_claimed_for_a_task_that_failed():
    clock = Clock()
    progress, out = logged(clock)
    with pytest.raises(RuntimeError), progress.task("training", total=2) as task:
        clock.seconds += 20
        task.advance()
        raise RuntimeError
    assert out.getvalue() == "training: 1/2, about 20 s left\n"


def test_lines_are_not_read_as_markup_nor_broken():
    out = io.StringIO()
    text = "profile [bold] :smile: " + "long " * 60
    Progress(console=Console(file=out, force_terminal=False, width=40)).say(text)
    assert out.getvalue() == text + "\n"


def test_standard_output_stays_clean(capsys):
    progress = Progress()
    progress.say("hello")
    with progress.task("work", total=1) as task:
        task.advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "hello\n"


def test_quiet_says_nothing(capsys):
    progress = Progress(quiet=True)
    progress.say("hello")
    with progress.task("work", total=1) as task:
        task.advance()
    assert capsys.readouterr() == ("", "")


def test_results_printed_under_a_bar_reach_standard_output(capsys):
    progress = Progress(console=Console(file=io.StringIO(), force_terminal=True))
    with progress.task("work", total=1):
        print("result")
    assert capsys.readouterr().out == "result\n"


def test_bars_on_a_terminal_may_be_nested_and_used_again_after_an_error(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")  # on a dumb one nothing is drawn twice
    out = io.StringIO()
    progress = Progress(console=Console(file=out, force_terminal=True, width=100))
    with pytest.raises(RuntimeError), progress.task("broken", total=3):
        raise RuntimeError
    with progress.task("outer [x]", total=2) as outer:
        progress.say("a line between")
        with progress.task("inner", total=5) as inner:
            inner.advance(5)
        outer.advance(2)
    shown = out.getvalue()
    assert "outer [x]" in shown
    assert "inner" in shown
    assert "2/2" in shown
    assert "a line between" in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3600, "1 h 00 min"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration_text(seconds) == text
