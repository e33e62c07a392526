"""Reports: one file, nothing fetched, nothing obeyed that was only text."""

import re
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects as go
import pytest

from runs.report import Report

HOSTILE = "<script>alert('x')</script> & </figure>"


class Outline(HTMLParser):
    """Tags with what they fetch, and the text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.words = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        if self.tags[-1:] not in (["script"], ["style"]):
            self.words += data


def outline(report, path) -> Outline:
    report.write(path)
    parser = Outline()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def test_text_and_tables_are_escaped(tmp_path):
    report = Report(HOSTILE)
    report.text(HOSTILE)
    report.table([HOSTILE, "ms"], [[HOSTILE, 1.5]])
    page = outline(report, tmp_path / "report.html")
    assert "script" not in page.tags
    assert page.words.count("alert('x')") == 5, "title twice, text, header and cell"


def test_figures_stand_in_the_file_and_nothing_is_fetched(tmp_path):
    report = Report("latency")
    report.text("before")
    report.figure(go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="</script><b>sly</b>")))
    report.figure(go.Figure(go.Bar(x=["a"], y=[1])))
    page = outline(report, tmp_path / "report.html")
    assert page.fetched == []
    assert "b" not in page.tags
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count('id="figure-1"') == text.count('id="figure-2"') == 1
    assert len(re.findall(r"plotly\.js v\d", text)) == 1, "the library is inlined once"


def test_without_a_figure_the_library_is_left_out(tmp_path):
    report = Report("short")
    report.text("nothing to draw")
    report.write(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 5_000


def test_cells_are_written_for_people(tmp_path):
    report = Report("cells")
    row = ["name", 3, 0.123456, 123456.7, None, True, np.float32(2.5), np.int64(7)]
    report.table([str(n) for n in range(len(row))], [row])
    report.write(tmp_path / "report.html")
    cells = re.findall(r"<td( class=\"number\")?>([^<]*)</td>", (tmp_path / "report.html").read_text(encoding="utf-8"))
    assert [text for _, text in cells] == ["name", "3", "0.1235", "123,457", "–", "True", "2.5", "7"]
    assert [bool(number) for number, _ in cells] == [False, True, True, True, True, False, True, True]


def test_a_column_of_words_and_numbers_stays_to_the_left(tmp_path):
    report = Report("mixed")
    report.table(["what", "value"], [["cores", 2], ["system", "Linux"]])
    report.write(tmp_path / "report.html")
    assert "<td>2</td>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_crooked_table_is_refused():
    with pytest.raises(ValueError, match="2 cells under 1 headers"):
        Report("x").table(["one"], [[1, 2]])


def test_the_same_parts_make_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        report = Report("twice")
        report.figure(go.Figure(go.Scatter(x=[1, 2], y=[3, 4])))
        report.write(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
