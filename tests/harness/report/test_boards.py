"""The result of a race as JSON, as a table and as an HTML page."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import boards as report
from harness.report.html import write_page
from registry import CrucibleError
from registry.records import Row, Run


def row(name, samples=(), status="passed", **fields):
    return Row(variant=name, source="", status=status, samples_ms=list(samples), **fields)


def race(*rows, op="gelu", workload="w"):
    controls = {"a_a": 1.0, "twice": 2.0, "floor_us": 0.1}
    roof = {"gflops": 10.0, "floor_ms": 0.5}
    return Run(
        op=op, workload=workload, dims={"N": 1}, params={}, protocol="cpu-warm", threads=2, rows=list(rows), controls=controls,
        roofline=roof,
    )  # fmt: skip


RACE = race(
    row("numba_slow", [4.0] * 8),
    row("numba_new", status="unproven", note="make it"),
    row("torch", [2.0] * 8, baseline=True),
    row("numba_fast", [1.0] * 8),
)


def test_document_has_the_keys_that_programs_read():
    document = json.loads(json.dumps(report.document([RACE])))
    assert {"op", "protocol", "threads", "controls", "roofline", "boards"} == set(document)
    assert document["roofline"] == {"gflops": 10.0}
    [board] = document["boards"]
    assert (board["workload"], board["dtype"]) == ("w", "float32")
    fast, torch, slow, new = board["rows"]
    assert [r["variant"] for r in board["rows"]] == ["numba_fast", "torch", "numba_slow", "numba_new"]
    assert (fast["rank"], fast["speedup_vs_torch"], fast["percent_of_roofline"]) == ("1", pytest.approx(2), pytest.approx(50))
    assert fast["speedup_interval"] == [pytest.approx(2), pytest.approx(2)]
    assert (slow["rank"], slow["speedup_vs_torch"], slow["p_best"]) == ("2", pytest.approx(0.5), 0)
    assert (torch["rank"], torch["baseline"]) == (None, True)
    assert (new["status"], new["median_ms"], new["rank"], new["note"]) == ("unproven", None, None, "make it")
    for key in ("median_ms", "q20_ms", "q80_ms", "rank", "baseline", "status"):
        assert key in new


def test_several_ops_are_a_list_of_races_and_boards_of_one_op_stay_together():
    document = report.document([RACE, race(row("numba_a", [1.0]), op="softmax"), race(row("numba_b", [1.0]), workload="v")])
    assert [(r["op"], len(r["boards"])) for r in document["races"]] == [("gelu", 2), ("softmax", 1)]


def test_a_race_without_a_roofline_is_shown_as_a_share_of_none(tmp_path):
    without = dataclasses.replace(RACE, roofline={})
    [board] = report.document([without])["boards"]
    assert {row["percent_of_roofline"] for row in board["rows"]} == {None}
    assert report.document([without])["roofline"] == {}
    assert all(cells[report.COLUMNS.index("of roofline")] == "" for cells in map(report.cells, board["rows"]))
    for run, shown in ((RACE, True), (without, False)):
        write_page(tmp_path / "page.html", [run])
        assert ('stroke="var(--roof)"' in (tmp_path / "page.html").read_text()) == shown


def test_a_simulated_gpu_has_no_times():
    with pytest.raises(CrucibleError, match="device is 'sim'; allowed: cpu, cuda"):
        dataclasses.replace(RACE, device="sim")


def test_race_without_torch_has_no_ratio():
    [only] = report.board(race(row("numba_a", [1.0, 1.0])))["rows"]
    assert only["speedup_vs_torch"] is None
    assert only["speedup_interval"] is None


@given(st.floats(1e-6, 1e5))
def test_time_is_shown_with_three_digits_in_a_unit_that_suits_it(ms):
    number, unit = report.duration(ms).split()
    assert float(number) * {"s": 1e3, "ms": 1.0, "us": 1e-3}[unit] == pytest.approx(ms, rel=6e-3, abs=6e-6)


def test_markdown_keeps_a_bar_in_a_remark_inside_its_cell():
    shown = report.markdown(race(row("numba_a", status="failed", note="a | b")))
    assert shown.splitlines()[-1].replace("\\|", "").count("|") == len(report.COLUMNS) + 1
