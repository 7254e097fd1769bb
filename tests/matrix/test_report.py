"""The page on compatibility."""

from __future__ import annotations

from pathlib import Path

from tests.matrix.lines import LINES, RELEASES
from tests.matrix.report import BEGIN, END, PAGE, Outcome, counts_of, table


def test_a_line_is_a_row_with_its_versions_and_what_came_of_its_tests() -> None:
    line = LINES[0]
    found = {"apache-airflow": "2.11.2", "python": "3.11.7", "openai": "3.0.0"}
    good = Outcome("2026-11-30", found, {"Airflow face": {"passed": 1234, "failed": 0, "skipped": 2}})
    rows = table({line.name: good}).splitlines()
    assert len(rows) == 3
    assert rows[2].startswith("| 2.11.2 | 3.11.7 | 3.0.0 |")
    assert "Airflow face: 1,234 passed, 2 skipped" in rows[2]
    assert good.is_good
    assert "not run: Python 3.14" in table({line.name: Outcome("2026-11-30", problem="Python 3.14 is not here")})


def test_a_report_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    assert counts_of(tmp_path / "report.xml")["failed"] == 1
    report = '<testsuites><testsuite tests="5" failures="1" errors="1" skipped="1"/></testsuites>'
    (tmp_path / "report.xml").write_text(report)
    assert counts_of(tmp_path / "report.xml") == {"passed": 2, "failed": 2, "skipped": 1}
    assert not Outcome("2026-11-30", {}, {"a": counts_of(tmp_path / "report.xml")}).is_good


def test_each_line_names_a_release_and_the_page_has_a_place_for_the_table() -> None:
    assert {line.airflow for line in LINES} == set(RELEASES)
    assert len({line.name for line in LINES}) == len(LINES)
    assert PAGE.read_text().count(BEGIN) == PAGE.read_text().count(END) == 1
