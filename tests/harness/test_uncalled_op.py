"""An op that no model calls is raced at the examples of its spec, and every board says that no step calls it."""

import pytest

from harness import bench, explain, leaderboard
from harness import pages as readme
from harness.race import champions
from harness.report.ladder import ladder_page
from models.workloads import STANDARD_STEP
from registry import discover
from registry.fingerprint import contract_hash, source_hash
from registry.records import Evidence, Row, Run, Store

TABLE = discover()
NOTE = "not part of a GPT-2 step"


TIMES = {"numba_rows": 2.0, "numba_naive": 8.0, "torch": 3.0}


def source(name):
    """Return the hash of a variant's sources; "" for torch."""
    return "" if name == "torch" else source_hash(TABLE.variant("rms_norm", name))


def raced(example):
    """Return the record of a race of rms_norm at one of its examples."""
    rows = [
        Row(variant=name, source=source(name), status="passed", baseline=name == "torch", samples_ms=[ms] * 12)
        for name, ms in TIMES.items()
    ]
    return Run(
        op="rms_norm",
        workload=f"example/{example}",
        dims=TABLE.op("rms_norm").examples[example],
        params={"eps": 1e-5},
        protocol="cpu-warm",
        threads=2,
        rows=rows,
        controls={"a_a": 1.0, "twice": 2.0, "floor_us": 0.1},
        roofline={"gflops": 100.0, "floor_ms": 0.01},
    )


@pytest.fixture
def store(tmp_path):
    """Return a store without races, in which both numba variants are proven."""
    contract, made = contract_hash(TABLE.op("rms_norm")), Store(tmp_path)
    for name in ("numba_rows", "numba_naive"):
        made.add_evidence(
            Evidence(op="rms_norm", variant=name, source=source(name), contract=contract, status="passed", problems=40)
        )
    return made


def test_the_board_and_the_ladder_say_that_no_step_calls_it(store):
    assert f"| `rms_norm` | {NOTE} | not raced |" in readme.board(TABLE, store)
    printed = ladder_page(TABLE, [], STANDARD_STEP).partition("## rms_norm\n")[2].partition("\n## ")[0]
    assert f"Calls in a step: 0 ({NOTE})." in printed


def test_a_race_at_its_examples_is_on_the_boards(store, capsys):
    for example in TABLE.op("rms_norm").examples:
        store.add_run(raced(example))
    [line] = [line for line in readme.board(TABLE, store).splitlines() if line.startswith("| `rms_norm` |")]
    assert line.startswith(f"| `rms_norm` | {NOTE} | `numba_rows` | 4 | 1.50x | 4x |")
    assert leaderboard.main(["--op", "rms_norm", "--results", str(store.folder.parent), "--markdown"]) == 0
    assert "### rms_norm, example/llama2-7b\n" in capsys.readouterr().out


def test_explain_knows_the_examples_that_were_raced(store, capsys):
    store.add_run(raced("ragged"))
    champions.refresh(store, TABLE)
    asked = ["--op", "rms_norm", "--results", str(store.folder.parent), "--workload"]
    assert explain.main([*asked, STANDARD_STEP]) == 2
    printed = capsys.readouterr().err
    assert printed == f"error: unknown raced workload of rms_norm {STANDARD_STEP!r}. Known: example/ragged.\n"


@pytest.mark.parametrize("op", ["rms_norm_backward", "rms_norm"])
def test_a_race_at_a_step_is_refused_in_one_line_that_offers_the_examples_once(op, tmp_path, capsys):
    assert bench.main(["--op", op, "--workload", STANDARD_STEP, "--results", str(tmp_path)]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {STANDARD_STEP} makes no call of {op}")
    assert "--workload example (llama2-7b, ragged) or a shape with --dims 'N=64 C=64'" in printed
    assert printed.count("\n") == 1
