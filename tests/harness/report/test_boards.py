"""The result of a race as JSON, as a table and as an HTML page."""

import argparse
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import boards as report
from harness.report.html import write_page
from harness.report.race_fields import race_fields
from registry import CrucibleError
from registry.paths import RESULTS
from registry.records import Row, Run
from registry.table import discover


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
    row("numba_sigmoid", [4.0] * 8),
    row("numba_new", status="unproven", note="make it"),
    row("torch", [2.0] * 8, baseline=True),
    row("numba_naive", [1.0] * 8),
)


def fields(run):
    return race_fields(run, discover(), argparse.Namespace(kernels_path=[], results=RESULTS))


def test_rows_of_the_document_have_times_ratios_and_verdicts():
    document = json.loads(json.dumps(fields(RACE)))
    assert (document["workload"], document["dtype"], document["device"]) == ("w", "float32", "cpu")
    assert document["roofline"] == {"gflops": 10.0}
    fast, torch, slow, new = document["rows"]
    assert [r["variant"] for r in document["rows"]] == ["numba_naive", "torch", "numba_sigmoid", "numba_new"]
    assert (fast["rank"], fast["speedup_vs_torch"], fast["percent_of_roofline"]) == ("1", pytest.approx(2), pytest.approx(50))
    assert fast["speedup_interval"] == [pytest.approx(2), pytest.approx(2)]
    assert (slow["rank"], slow["speedup_vs_torch"], slow["p_best"]) == ("2", pytest.approx(0.5), 0)
    assert (torch["rank"], torch["baseline"], torch["proof"]) == (None, True, None)
    assert (new["status"], new["median_ms"], new["rank"], new["note"]) == ("unproven", None, None, "make it")
    assert [r["verdict"] for r in document["rows"]] == ["champion", "baseline", "slower", "not raced"]
    assert [r["proof"] for r in document["rows"]] == ["passed", None, "passed", "unproven"]
    champion = document["champion"]
    assert (champion["variant"], champion["runner_up"], champion["rule"]) == ("numba_naive", "numba_sigmoid", "fastest")
    assert champion["ratio"] == pytest.approx(4)
    assert document["undecided"] is None
    assert document["reproduce"].startswith(
        "python -m harness.bench --op 'gel[u]' --workload w --threads 2 --protocol cpu-warm"
    )


def test_a_tie_and_an_undecided_race_say_so():
    steady = [1.0, 1.01, 1.0, 1.01] * 4
    tie = fields(race(row("numba_naive", steady), row("numba_sigmoid", steady[::-1]), row("numba_tanh", [9.0] * 16)))
    assert sorted(r["verdict"] for r in tie["rows"]) == ["champion", "slower", "tie"]
    assert tie["champion"]["rule"] in {"tie_with_shorter_file", "fastest"}
    noise = fields(race(row("numba_naive", [1.0, 9.0] * 4), row("numba_sigmoid", [9.0, 1.0] * 4)))
    assert {r["verdict"] for r in noise["rows"]} == {"undecided"}
    assert noise["champion"] is None
    assert noise["undecided"]["command"] == noise["reproduce"]
    assert noise["undecided"]["command"] in noise["undecided"]["message"]


def test_a_race_without_a_roofline_is_shown_as_a_share_of_none(tmp_path):
    without = dataclasses.replace(RACE, roofline={})
    document, board = fields(without), report.board(without)
    assert {row["percent_of_roofline"] for row in document["rows"]} == {None}
    assert document["roofline"] == {}
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
