"""What is printed of results."""
import json

from . import report
from .figures import Row, Samples, at_least, at_most, result
from .rows import PROBES, ROWS

ABOUT = {"runs": 1, "seconds": 3.2}
GOALS = (at_most(100.0), at_least(0.6, "ratio"))


def results(foreign=0.0):
    samples = Samples()
    samples.add("a", {"x": 50.0}, foreign)
    samples.add("b", {"x": 100.0}, 0.0)
    return [result(Row("one", "a thing", "ms", "a.x", "b.x", "curl", GOALS), samples)]


def test_the_text_names_goals_reached_and_missed():
    text = report.as_text(results(), {"ssh": "there is none"}, ABOUT)
    assert "one: a thing" in text
    assert "100 ms (100..100): curl" in text
    assert "reached       at most 100 ms; it is 50" in text
    assert "MISSED        at least 0.6 of the peer's; it is 0.5" in text
    assert "ssh: left out: there is none" in text
    assert "1 of 2 goals reached" in text
    assert "noisy" not in text


def test_the_text_tells_of_noise():
    assert "noisy         others used up to 25%" in report.as_text(results(0.25), {}, ABOUT)


def test_the_object_has_all_of_it():
    made = json.loads(report.as_json(results(0.25), {"ssh": "there is none"}, ABOUT))
    assert made["runs"] == 1 and made["left_out"] == {"ssh": "there is none"}
    row, = made["rows"]
    assert row["name"] == "one" and row["unit"] == "ms" and row["peer_name"] == "curl"
    assert row["ours"] == {"median": 50, "low": 50, "high": 50}
    assert row["peer"]["median"] == 100
    assert row["ratio"]["median"] == 0.5 and row["difference"]["median"] == -50
    assert [(goal["of"], goal["value"], goal["reached"]) for goal in row["goals"]] == [
        ("value", 50, True), ("ratio", 0.5, False)]
    assert row["noisy"] and row["foreign_cpu"] == 0.25


def test_the_table_has_a_line_for_each_row():
    lines = report.as_markdown(results(), {}, ABOUT).splitlines()
    assert len(lines) == 3
    assert lines[2] == ("| `one` | a thing | 50 ms | 100, curl | 0.5 | at most 100 ms: reached; "
                        "at least 0.6 of the peer's: missed |")


def test_numbers_have_three_digits():
    assert [report.number(n) for n in (0.0123456, 1.5, 99.94, 100.4, 123456.7)] == [
        "0.0123", "1.5", "99.9", "100", "123,457"]


def test_every_row_has_its_probes_and_a_name_of_its_own():
    assert {probe for row in ROWS for probe in row.probes()} == set(PROBES)
    assert len({row.name for row in ROWS}) == len(ROWS)
