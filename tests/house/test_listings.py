"""Each table that a command prints shows the names of a row whole, in terminals of 80, 100 and 120 columns."""

import re
from collections import Counter

import pytest
from rich.console import Console

from harness import explain, inspect, mutate, verify
from harness import gpu_check as check
from harness.cuda.agreement import Agreement
from harness.cuda.footprint import Footprint
from harness.mutation.mutants import Mutant
from harness.mutation.rules import RULES, Mutation
from harness.proof.result import Proof
from harness.report import boards as report
from models.tensors import Kind
from models.workloads import workloads_of
from registry.__main__ import listing, listing_of
from registry.paths import ROOT
from registry.records import Champion, Evidence, Row, Run
from registry.table import Unloadable, discover
from simulator import Counters
from simulator.interface.counters import LineCounters
from trainer.program.arena import Plan
from trainer.report.console import choices_table, plan_table
from trainer.selection.kernel_set import Choice

TABLE = discover()
VARIANTS = [v for op in TABLE.ops for v in TABLE.variants[op].values()]
LENGTHS = (lambda v: len(v.op.name)), (lambda v: len(v.name)), (lambda v: len(str(v)))
LONGEST = [max(VARIANTS, key=length) for length in LENGTHS]
STEP = "gpt2-1558m-b64-t1024"
CALLS = {op.name: max((w.name for w in workloads_of(op)), key=len) for op in TABLE.ops.values()}
LABEL = max((name.partition("/")[2] for name in CALLS.values()), key=len)
REASON = "ties with numba_rows and has the shorter file: 30 lines against 50"
WIDTHS = (80, 100, 120)


def of_explain():
    """Return the listing of champions and its names."""
    name = max({v.name for v in VARIANTS} - {v.name for v in LONGEST}, key=len)
    champions = [
        Champion(
            op=v.op.name, workload=CALLS[v.op.name], dims={}, variant=v.name, source="", threads=64, median_ms=1234.5678,
            device="cuda", protocol="cuda-graph", dtype="bfloat16", runner_up=name, ratio=1.234, ratio_low=1.1,
            ratio_high=1.3, reason=REASON,
        )
        for v in LONGEST
    ]  # fmt: skip
    names = {word for c in champions for word in (c.op, c.workload, c.variant, c.dtype, c.protocol, c.runner_up)}
    return lambda console: console.print(explain.listing(champions)), names


def a_run(variant):
    """Return a race of a variant, of a slower one and of one that was refused."""
    samples = [1.0 + i % 3 / 100 for i in range(12)]
    rows = [
        Row(variant=variant.name, source="", status="passed", samples_ms=samples),
        Row(variant="torch", source="", status="passed", baseline=True, samples_ms=[2 * s for s in samples]),
        Row(variant="numba_" + "x" * 20, source="", status="refused", note=REASON),
    ]
    dims = {"B": 64, "T": 1024, "N": 65536, "C": 1600}
    return Run(
        op=variant.op.name, workload=CALLS[variant.op.name], dims=dims, params={}, protocol="cpu-warm", threads=2, rows=rows,
        controls={}, roofline={"floor_ms": 0.5}, dtype="bfloat16",
    )  # fmt: skip


def of_boards():
    """Return the boards of races, as `bench` and `leaderboard` print them, and their names."""
    runs = [a_run(variant) for variant in LONGEST]
    names = {word for run in runs for word in (run.op, run.workload, *(row.variant for row in run.rows))}

    def show(console):
        for run in runs:
            console.print(report.listing(run, console.width))

    return show, names


def of_verify():
    """Return what `verify` prints of proofs and of a file that could not be loaded, and its names."""
    lost = Unloadable(ROOT / "numba_that_cannot_be_loaded.py", LONGEST[0].op.name, "SyntaxError: invalid syntax")
    proofs = [Proof(variant, seconds=1234.5, worst_over_tolerance=1e-3) for variant in LONGEST]
    names = {lost.op, lost.name, *(word for v in LONGEST for word in (v.op.name, v.name))}
    return lambda console: verify._show(proofs, [lost], console, single=True), names  # noqa: SLF001 (what the command prints)


def of_registry():
    """Return the listing of the registry and its names."""
    return lambda console: console.print(listing_of(listing(TABLE, "all"))), {v.name for v in VARIANTS} | set(TABLE.ops)


def of_choices(*, explained):
    """Return the trainer's kernels and their names."""
    labels = [f"{LABEL}{number}" for number in range(len(LONGEST))]
    named = list(zip(LONGEST, labels, strict=True))
    needs = {(v.op.name, label): Choice(v, f"champion of {STEP}/{label}", REASON) for v, label in named}
    names = {*labels, *(word for v in LONGEST for word in (v.op.name, v.name))}
    return lambda console: console.print(choices_table(needs, explain=explained)), names


def of_plan():
    """Return the trainer's memory plan and the names of its rows."""
    plan = Plan(by_kind=dict.fromkeys(Kind, 2**40), total=2**45)
    return lambda console: console.print(plan_table(plan)), {name for name, _ in plan.rows()}


def of_inspect():
    """Return the lines of a source with the names by which a reader finds them."""
    variant = max((v for v in VARIANTS if v.device == "cuda"), key=lambda v: len(v.name))
    source, counts = variant.path.with_suffix(".cu"), LineCounters(*[10**9] * 10, Counter(f32=10**9))
    lines = {(str(source), number): counts for number in range(1, len(source.read_text().splitlines()) + 1)}
    counters = Counters()
    counters.lines.update(lines)
    footprint = Footprint(1, 32, 0, 0, 1.0)
    told = inspect.Report(variant, {"N": 65536, "C": 1600}, "bfloat16", 2, counters, [], {}, CALLS[variant.op.name], footprint)
    return lambda console: console.print(inspect.lines_listing(told)), {f"{source.name}:{line}" for _, line in lines}


def of_mutate():
    """Return what `mutate` prints of each rule, and the rules' names."""
    variant, path = LONGEST[0], ROOT / "kernels" / "cuda" / "crucible.cuh"
    outcomes = [mutate.Outcome(Mutant(Mutation(path, rule, "a\n", 0, 1, "b"), variant), "values") for rule in RULES]
    words = {word for rule in RULES for word in rule.name.split()}
    return lambda console: mutate._show(outcomes, console), words  # noqa: SLF001 (what the command prints)


def of_gpu_check():
    """Return what the check of a GPU prints, and its names."""
    found = check.Findings(
        proofs=[Evidence(op=v.op.name, variant=v.name, source="", contract="", status="out_of_bounds") for v in LONGEST],
        agreements=[Agreement(v.op.name, v.name, 9, 10**9, 10**9 - 1, 12345) for v in LONGEST],
        runs=[a_run(v) for v in LONGEST],
    )
    store = type("Store", (), {"folder": ROOT})()
    return lambda console: check._show(found, store, console), {w for v in LONGEST for w in (v.op.name, v.name)}  # noqa: SLF001 (the same)


TABLES = {
    "explain": of_explain,
    "boards": of_boards,
    "verify": of_verify,
    "registry": of_registry,
    "trainer": lambda: of_choices(explained=False),
    "trainer --explain": lambda: of_choices(explained=True),
    "trainer, memory": of_plan,
    "inspect": of_inspect,
    "mutate": of_mutate,
    "gpu_check": of_gpu_check,
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("table", TABLES)
def test_each_name_is_whole_on_one_line(table, width, monkeypatch):
    monkeypatch.setattr(check, "machine_key", lambda _: "nvidia-h200")
    show, names = TABLES[table]()
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        show(console)
    lines = capture.get().splitlines()
    assert "…" not in capture.get()
    cut = [name for name in names if not any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", line) for line in lines)]
    assert cut == []


def test_every_table_is_a_listing():
    """Rich's own tables cut cells."""
    users = {
        str(path.relative_to(ROOT))
        for room in ("registry", "harness", "trainer")
        for path in (ROOT / room).rglob("*.py")
        if "rich.table" in path.read_text()
    }
    assert users == {"registry/listing.py"}
