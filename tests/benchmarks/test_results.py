"""Stored measurements, what differs between two runs, and the page that shows them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measurement import Measurement
from benchmarks.results import Machine, Result, compared, last, save
from docs.measured import BEGIN, END, measured_files, with_comparison

MACHINE = Machine("Linux 6", "a processor", 2, "3.11.7", 0.5)


def result(value: float, name: str = "peers") -> Result:
    rows = (
        Measurement("ours: first result", value, "s", "theirs", 2.0),
        Measurement("ours, 50 at once", 40.0, "/s", "theirs", 10.0),
        Measurement("memory", 80.0, "MB", "", 0.0),
    )
    return Result(name, "2026-11-28", "abc1234", MACHINE, rows)


def test_stored_run_is_read_back(tmp_path: Path) -> None:
    assert last("peers", tmp_path) is None
    save(result(1.0), tmp_path)
    assert last("peers", tmp_path) == result(1.0)


def test_comparison_lists_change_of_each_ratio() -> None:
    assert compared(result(3.0), result(2.0)) == [
        "ours: first result / theirs: 1.00 -> 1.50 (+50%)",
        "ours, 50 at once / theirs: 4.00 -> 4.00 (+0%)",
    ]


def test_page_shows_values_ratios_machine_date_and_commit() -> None:
    files = measured_files([result(1.0)])
    page = files["docs/benchmarks.md"]
    assert "| ours: first result | 1 s | theirs | 2 s | 0.5 |" in page
    assert "| memory | 80 MB | - | - | - |" in page
    assert "2026-11-28, commit `abc1234`; a processor, 2 cores, Linux 6, Python 3.11.7, load average 0.5." in page
    assert files["docs/images/benchmark-peers.svg"].count('class="bar"') == 2


def test_page_states_overhead_of_one_search_and_one_record() -> None:
    rows = (
        Measurement("a, 10 vectors: write 1,000", 30.0, "ms", "bare library", 20.0),
        Measurement("b, 10 vectors: write 1,000", 90.0, "ms", "bare library", 40.0),
        Measurement("a, 10 vectors: search", 1.0, "ms", "bare library", 0.5),
        Measurement("b, 10 vectors: search", 52.0, "ms", "bare library", 50.0),
    )
    page = measured_files([Result("vectors", "2026-11-28", "abc1234", MACHINE, rows)])["docs/benchmarks.md"]
    assert "0.5 ms (a, 10 vectors, ratio 2) for a search,\nand 0.05 ms (b, 10 vectors, ratio 2.2)" in page


def test_readme_comparison_replaces_text_between_its_marks() -> None:
    text = with_comparison(f"before\n{BEGIN}old\n{END}after\n", result(1.0))
    assert text.startswith(f"before\n{BEGIN}| engine |")
    assert text.endswith(f"{END}after\n")
    assert "| ours | 1 s | 0.5 | 40 /s | 4 |" in text
    assert with_comparison(text, result(1.0)) == text
