"""A small race from the command to the records; contestants with wrong outputs, errors and crashes; bad requests."""

from types import SimpleNamespace

import numpy as np
import pytest

from harness import bench
from harness.race import controls as race_controls
from harness.race import rounds as race
from harness.race.board import boards_for
from harness.race.check import disagreement
from harness.race.contestant_buffers import write_pristine
from harness.race.contestant_process import ContestantError
from harness.race.entries import Field
from harness.race.roofline import TRUSTED
from harness.race.session import Session
from registry.dtypes import BFLOAT16
from registry.error_law import Exact
from registry.fingerprint import contract_hash, source_hash
from registry.records import Evidence, Store
from registry.table import discover
from tests.house.document_check import document_of

VARIANT = '''"""{name}.

Idea: be raced.
Source: this test.
"""

import os
import numpy as np
from kernels.residual.spec import RESIDUAL
from registry import register

calls = [0]

@register(RESIDUAL)
def {name}(x1, x2, y):
    calls[0] += 1
    {body}
'''
HONEST = "np.add(x1, x2, out=y)"
BODIES = {
    "numpy_honest": HONEST,
    "numpy_lazy": f"if calls[0] < 9: {HONEST}",
    "numpy_remembering": f"""key = x1.ctypes.data
    memory = globals().setdefault("memory", {{}})
    if key in memory: y[...] = memory[key]
    else: {HONEST}; memory[key] = y.copy()""",
    "numpy_raising": f"""{HONEST}
    if x1.size == 96 and calls[0] > 9: raise ValueError("no more")""",
    "numpy_crashing": f"""{HONEST}
    if x1.size == 96 and calls[0] > 9: os._exit(3)""",
    "numpy_printing": f"print('noise'); {HONEST}",
}
SHAPE = "N=8 C=12"
ANYTHING = {"a_a": (0.0, float("inf")), "twice": (0.0, float("inf"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write a folder with sound and faulty variants."""
    made = tmp_path_factory.mktemp("variants")
    for name, body in BODIES.items():
        (made / f"{name}.py").write_text(VARIANT.format(name=name, body=body))
    return made


def prove(results, folder, *names):
    """Store invented proofs, as if faulty variants had passed the battery."""
    table = discover(folder)
    op = table.op("residual")
    for name in names:
        variant = table.variant("residual", name)
        proof = {"op": "residual", "variant": name, "source": source_hash(variant), "contract": contract_hash(op)}
        Store(results).add_evidence(Evidence(**proof, status="passed", problems=40))


def raced(folder, results, *arguments):
    command = ["--op", "residual", "--dims", SHAPE, "--threads", "1", "--budget", "2s", "--kernels-path", folder]
    return bench.main([*map(str, command), "--results", str(results), *map(str, arguments)])


@pytest.fixture(scope="module")
def session(folder, tmp_path_factory):
    """Race all variants once; the controls may have any value, since the machine may be busy."""
    results = tmp_path_factory.mktemp("results")
    prove(results, folder, "numpy", *(n for n in BODIES if n != "numpy_printing"))
    page = results / "page.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(race_controls, "BANDS", ANYTHING)
        code = raced(folder, results, "--variant", "numpy_[!p]*", "--html", page)
    [run] = Store(results).runs()
    return code, Store(results), {row.variant: row for row in run.rows}, run, page.read_text()


def test_honest_variant_and_baselines_have_times(session):
    _, store, rows, run, page = session
    for name in ("numpy_honest", "numpy", "torch"):
        assert rows[name].status == "passed"
        assert len(rows[name].samples_ms) >= race.SLOW_ROUNDS
        assert all(np.isfinite(s) and s > 0 for s in rows[name].samples_ms)
    assert [rows[n].baseline for n in ("numpy_honest", "numpy", "torch")] == [False, True, True]
    assert (run.dims, run.threads, run.workload) == ({"N": 8, "C": 12}, 1, "N=8,C=12")
    assert run.roofline["floor_ms"] > 0
    assert "numpy_honest" in page
    champions = {c.variant for c in store.champions()}
    assert champions <= {"numpy_honest"}


@pytest.mark.parametrize("name", ["numpy_lazy", "numpy_remembering"])
def test_variant_that_answers_only_at_first_or_from_memory_is_wrong_and_has_no_time(name, session):
    row = session[2][name]
    assert (row.status, row.samples_ms) == ("wrong", [])
    assert "a timed call's y is wrong" in row.note


@pytest.mark.parametrize(
    ("name", "status", "note"), [("numpy_raising", "failed", "no more"), ("numpy_crashing", "crashed", "3")]
)
def test_broken_variant_is_a_status_and_the_race_goes_on(name, status, note, session):
    code, _, rows, *_ = session
    assert (rows[name].status, rows[name].samples_ms) == (status, [])
    assert note in rows[name].note
    assert code == 1


def test_controls_are_stored_with_the_run(session):
    controls = session[3].controls
    assert set(controls) == {"a_a", "twice", "floor_us"}
    assert all(value > 0 for value in controls.values())


def test_json_is_one_document_and_prints_of_a_variant_do_not_disturb_it(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(race_controls, "BANDS", ANYTHING)
    prove(tmp_path, folder, "numpy_printing")
    assert raced(folder, tmp_path, "--variant", "numpy_printing,cuda_*", "--json", "--no-store") == 0
    [race] = document_of(capsys.readouterr().out, "harness.bench", 0)["races"]
    rows = {row["variant"]: row for row in race["rows"]}
    assert set(rows) == {"numpy_printing", "numpy", "torch"}  # a variant for another device has no row
    assert rows["numpy_printing"]["status"] == "passed"
    assert (rows["numpy_printing"]["rank"], rows["numpy_printing"]["verdict"]) == ("1", "champion")
    assert race["champion"]["rule"] == "only"
    assert rows["numpy"]["status"] == "unproven"
    assert "python -m harness.verify --op residual --variant numpy" in rows["numpy"]["note"]
    assert Store(tmp_path).runs() == []
    assert Store(tmp_path).champions() == []


def test_failed_controls_store_nothing_and_say_their_values(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(race_controls, "BANDS", {"a_a": (5.0, 6.0)})
    monkeypatch.setattr(race_controls, "ATTEMPTS", 1)
    prove(tmp_path, folder, "numpy_honest")
    assert raced(folder, tmp_path, "--variant", "numpy_honest") == 1
    errors = capsys.readouterr().err
    assert "the controls failed" in errors
    assert "a_a reads" in errors
    assert Store(tmp_path).runs() == []


def test_time_that_beats_the_roofline_is_implausible_after_the_roofline_was_measured_again(tmp_path):
    [board] = boards_for([discover().op("residual")], "", "N=64 C=64", "float32", tmp_path)
    measured = []
    roof = {"gflops": 1.0, "gb_s@1024": board.moved / 1e6}
    session = SimpleNamespace(
        roof=roof,
        protocol="cpu-warm",
        place="cpu",
        threads=1,
        controls={},
        measure_roofline=lambda *, again: measured.append(again),
    )
    below, above = TRUSTED - 0.05, TRUSTED + 0.05  # shares of the floor, which is 1 ms
    quick, slow = race.Entry("quick", None, samples_ms=[below] * 2), race.Entry("slow", None, samples_ms=[above] * 2)
    run = Field(board, named=True).run(session, [quick, slow])
    assert measured == [True, True]
    assert [(r.status, r.samples_ms) for r in run.rows] == [("implausible", []), ("passed", [above, above])]
    assert "less than the 1 ms that the measured roofline allows" in run.rows[0].note


def test_unproven_variant_is_refused_with_the_command_that_proves_it(folder, tmp_path, capsys):
    assert raced(folder, tmp_path, "--variant", "numpy_honest") == 2
    assert "python -m harness.verify --op residual --variant numpy_honest" in capsys.readouterr().err


def entry(name, estimate_ms):
    return race.Entry(name, process=None, estimate_ns=estimate_ms * 1e6)


def test_slow_contestants_get_few_rounds_and_a_note():
    leader, close, slow, endless = entry("a", 1), entry("b", 3), entry("c", 100), entry("d", 4000)
    race.limit_rounds([leader, close, slow, endless], leader.estimate_ns, 10.0)
    assert leader.quota == close.quota == race.MOST_ROUNDS
    assert leader.note == close.note == ""
    assert race.SLOW_ROUNDS <= slow.quota < 10
    assert slow.note == f"at most {slow.quota} rounds: 100 times the leader's time"
    assert endless.quota == 1
    assert endless.note == "one call: 4000 times the leader's time"


def test_estimate_that_a_neighbour_spoiled_is_corrected():
    spoiled = entry("a", 100)
    race.limit_rounds([spoiled], 1e6, 10.0)
    assert spoiled.quota < race.MOST_ROUNDS
    spoiled.refine(1.5e6, 4)
    race.limit_rounds([spoiled], 1e6, 10.0)
    assert (spoiled.quota, spoiled.note) == (race.MOST_ROUNDS, "")
    assert (spoiled.count, spoiled.repeats) == (1, 13)
    spoiled.refine(2e6, 4)
    assert spoiled.estimate_ns == 1.5e6


def test_cold_protocol_sweeps_the_caches_and_large_boards_release_their_buffers(tmp_path):
    [board] = boards_for([discover().op("layer_norm")], "", "N=64 C=64", "float32", tmp_path)
    with Session(1, "cpu-cold") as session:
        assert session.cold_bytes == session.cache_bytes
        assert session.set_count(board) > 1
        assert not session.is_tight(board, 1, 1)
        assert session.is_tight(board, 1 << 40, 1)
    with Session(1, "cpu-warm") as session:
        assert session.cold_bytes == 0


class RecordingProcess:
    """A contestant's process that records its commands."""

    def __init__(self, ms):
        self.ms, self.asked = ms, []

    def ask(self, what, _seconds=None, /, **message):
        """Reply as a contestant would."""
        self.asked.append(what)
        return {"ns": [self.ms * 1e6] * message.get("samples", 1)}


@pytest.mark.parametrize(("room", "prepared"), [(9, 1), (2, 2), (1, 1 + race.FEWEST_ROUNDS)])
def test_buffers_stay_once_those_who_called_once_have_released_theirs(room, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(race, "disagreement", lambda *_: "")
    monkeypatch.setattr(race, "MOST_ROUNDS", race.FEWEST_ROUNDS)
    [board] = boards_for([discover().op("residual")], "", "N=64 C=64", "float32", tmp_path)
    oracle = SimpleNamespace(ask=lambda *_, **__: None)
    session = SimpleNamespace(set_count=lambda _: 1, is_tight=lambda *asked: asked[2] > room, torch=oracle, cold_bytes=0)
    entries = [race.Entry(name, RecordingProcess(ms), baseline=True) for name, ms in (("a", 30.0), ("b", 40.0), ("c", 9000.0))]
    race.run_race(session, board, entries, 1.0, lambda *_: None)
    assert [len(e.samples_ms) for e in entries] == [race.FEWEST_ROUNDS, race.FEWEST_ROUNDS, 1]
    assert entries[0].process.asked.count("prepare") == prepared
    assert entries[2].process.asked.count("turn") == 1


def saved(folder, name, values):
    write_pristine(folder, name, {"y": np.asarray(values, np.float32)})


@pytest.mark.parametrize(
    ("output", "right"),
    [([1, 2, 3], True), ([1, 2, 3.0001], False), ([1, 2, np.nan], False), ([0, 0, 0], False), ([1, 2], False)],
)
def test_output_of_a_timed_call_is_compared(output, right, tmp_path):
    op = discover().op("residual")
    saved(tmp_path, "reference", [1, 2, 3])
    saved(tmp_path, "a", output)
    assert (disagreement(op, {"N": 3, "C": 1}, tmp_path, "a") == "") is right


@pytest.mark.parametrize(
    ("last", "right"), [(3.0, True), (3.015625, True), (2.984375, True), (3.046875, False), (np.nan, False)]
)
def test_a_stored_bfloat16_may_be_a_unit_off(last, right, tmp_path):
    op = discover().op("residual")
    saved(tmp_path, "reference", [1, 2, 3.001])
    write_pristine(tmp_path, "a", {"y": np.asarray([1, 2, last], BFLOAT16)})
    message = disagreement(op, {"N": 3, "C": 1}, tmp_path, "a")
    assert (message == "") is right
    assert right or "where torch has 3.001, allowed error 0.02" in message


@pytest.mark.parametrize(("last", "right"), [(3.0, True), (3.0000005, False)])
def test_exact_op_has_no_tolerance(last, right, tmp_path):
    op = SimpleNamespace(error=Exact(), outputs=("y",))
    saved(tmp_path, "reference", [1, 2, 3])
    saved(tmp_path, "a", [1, 2, last])
    assert (disagreement(op, {}, tmp_path, "a") == "") is right


def test_entry_that_failed_has_no_time():
    failed = entry("a", 1)
    failed.samples_ms.append(1.0)
    failed.fail(ContestantError("hung", "no answer"))
    assert (failed.status, failed.note, failed.samples_ms, failed.racing) == ("hung", "no answer", [], False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--op", "residul"], "did you mean 'residual'?"),
        (["--op", "residual", "--variant", "nunpy"], "unknown variant"),
        (["--op", "residual", "--variant", "cuda_naive"], "none of these runs on --device cpu"),
        (["--op", "residual", "--workload", "gpt2-124-b4-t64"], "did you mean 'gpt2-124m'?"),
        (["--op", "residual", "--workload", "big"], "write MODEL-bBATCH-tSEQUENCE"),
        (["--op", "matmul", "--workload", "gpt2-124m-b4-t64/qvk"], "did you mean 'qkv'?"),
        (["--op", "residual", "--protocol", "cpu-hot"], "unknown protocol 'cpu-hot'"),
        (["--op", "residual", "--dims", "N=3"], "no value for C"),
        (["--op", "residual", "--dims", "N=3 C=-1"], "takes C from"),
        (["--op", "residual", "--dims", "N=3 K=1"], "unknown dim of residual"),
        (["--op", "residual", "--dims", "N three"], "'N' is not NAME=NUMBER"),
        (["--op", "residual", "--dims", "N=0 C=0"], "nothing to compute"),
        (["--op", "residual", "--budget", "soon"], "such as 60s or 2m"),
        (["--op", "residual", "--budget", "0s"], "--budget '0s'"),
        (["--op", "residual", "--threads", "0"], "--threads 0"),
        (["--op", "residual", "--threads", "4096"], "--threads 4096"),
        (["--op", "residual", "--dtype", "float128"], "unknown dtype"),
        (["--op", "layer_norm", "--dtype", "bfloat16"], "takes it on --device cpu; these do, with --device cuda: cuda_block, "),
        (["--op", "layer_norm", "--variant", "numba_*", "--dtype", "bfloat16"], "these do, with --device cuda: cuda_block, "),
        (["--op", "softmax", "--dtype", "bfloat16"], "takes it on --device cpu; the dtypes of softmax are float32"),
        (
            ["--op", "adamw_master"],
            "--dtype float32: no requested variant takes it on --device cpu; the dtypes of adamw_master are ",
        ),
        (["--op", "residual", "--device", "cuda"], "not available"),
        (["--op", "residual", "--kernels-path", "/nowhere"], "is not a folder"),
        (["--op", "residual"], "python -m harness.verify --op residual"),
    ],
)
def test_wrong_request_is_one_line_and_code_2(arguments, message, tmp_path, capsys):
    assert bench.main([*arguments, "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("2m", 120), ("1.5m", 90), ("7", 7), (" 3s ", 3)])
def test_budget_is_read_in_seconds_and_minutes(text, seconds):
    assert bench.budget_seconds(text) == seconds
