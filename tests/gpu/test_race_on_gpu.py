"""A race on a (stand-in) GPU under both protocols: times from events, checked outputs, records under the GPU's name."""

import dataclasses
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from harness import bench
from harness.proof.cases.values import materialise
from harness.race.board import params_for
from harness.race.check import disagreement
from harness.race.contestant_buffers import load_array, load_pristine, write_pristine
from harness.race.contestant_gpu import GpuContestant
from harness.race.session import PROTOCOLS
from harness.race.session_gpu import GpuSession
from registry.dtypes import BFLOAT16
from registry.machine import machine_key
from registry.problem import Problem
from registry.records import Store
from tests.gpu.proofs import prove

DIMS = {"N": 8, "C": 12}
ROLE = {"op": "residual", "variant": "cuda_naive", "threads": 1}


@pytest.fixture
def contestant(gpu, tmp_path):
    """Return a loaded contestant in this process, and the values of its two sets."""
    del gpu
    process, random = GpuContestant([]), np.random.default_rng(1)
    values = [{name: random.random((8, 12), np.float32) for name in ("x1", "x2")} for _ in range(2)]
    for number, arrays in enumerate(values):
        write_pristine(tmp_path, number, arrays)
    yield process, values, tmp_path
    process.cupy.cuda.Stream.null.use()


def prepared(contestant, folder, cold):
    """Give a contestant two sets of buffers."""
    what = {"dims": DIMS, "params": {}, "dtype": "float32", "folder": str(folder), "sets": 2, "heat": 0}
    contestant.prepare(**what, cold=cold)
    return contestant


@pytest.mark.usefixtures("gpu", "quick")
@pytest.mark.parametrize("protocol", PROTOCOLS["cuda"])
def test_a_race_is_stored_under_the_gpu_s_name(protocol, tmp_path, capsys):
    prove(tmp_path, "cuda", "residual", "cuda_naive", "cuda_vector")
    words = ["--op", "residual", "--device", "cuda", "--protocol", protocol, "--dims", "N=8 C=12", "--budget", "1s"]
    assert bench.main([*words, "--variant", "cuda_*", "--results", str(tmp_path)]) == 0, capsys.readouterr()
    store = Store(tmp_path, machine_key("cuda"))
    [run] = store.runs()
    assert (run.device, run.protocol, run.machine) == ("cuda", protocol, machine_key("cuda"))
    rows = {row.variant: row for row in run.rows}
    # torch sees no GPU here, so the race has no baseline.
    assert set(rows) == {"cuda_naive", "cuda_vector"}
    assert all(row.status == "passed" and min(row.samples_ms) > 0 for row in rows.values())
    assert [c.device for c in store.champions()] == ["cuda"]
    assert Store(tmp_path).runs() == []


@pytest.mark.usefixtures("gpu", "quick")
def test_a_library_s_call_is_no_failure_of_a_race_by_graphs_but_has_no_time_there(tmp_path, capsys):
    prove(tmp_path, "cuda", "matmul", "cuda_naive", "cuda_cublas")
    forward_only = "matmu[l]"  # the plain name selects the whole family, this pattern only the forward op
    words = ["--op", forward_only, "--device", "cuda", "--protocol", "cuda-graph", "--dims", "N=4 C=8 O=8", "--budget", "1s"]
    assert bench.main([*words, "--variant", "cuda_naive,cuda_cublas", "--results", str(tmp_path)]) == 0, capsys.readouterr()
    [run] = Store(tmp_path, machine_key("cuda")).runs()
    rows = {row.variant: row for row in run.rows}
    assert rows["cuda_naive"].status == "passed"
    assert (rows["cuda_cublas"].status, rows["cuda_cublas"].samples_ms) == ("refused", [])


@pytest.mark.usefixtures("gpu", "quick")
def test_a_race_in_bfloat16_has_a_board_and_a_champion_of_its_own(tmp_path, capsys):
    prove(tmp_path, "cuda", "layer_norm", "cuda_naive", "cuda_vector")
    words = ["--op", "layer_nor[m]", "--device", "cuda", "--dims", "N=8 C=16", "--budget", "1s", "--results", str(tmp_path)]
    for dtype in ("bfloat16", "float32"):
        code = bench.main([*words, "--variant", "cuda_naive,cuda_vector", "--dtype", dtype])
        assert (code, dtype in capsys.readouterr().out) == (0, dtype == "bfloat16")  # the default dtype is not printed
    store = Store(tmp_path, machine_key("cuda"))
    assert [run.dtype for run in store.runs()] == ["bfloat16", "float32"]
    assert all(row.status == "passed" for run in store.runs() for row in run.rows), store.runs()
    assert sorted(c.dtype for c in store.champions()) == ["bfloat16", "float32"]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--protocol", "cpu-warm"], "cuda-cold"),
        (["--compare", "HEAD"], "--compare races on the CPU"),
        (["--variant", "cuda_naive"], "--device cuda"),
        (["--op", "softmax", "--dtype", "bfloat16"], "--dtype bfloat16: no requested variant takes it on --device cuda"),
        (["--dtype", "bfloat"], "unknown dtype 'bfloat'; did you mean 'bfloat16'?"),
    ],
)
def test_requests_that_make_no_sense_on_a_gpu_are_refused(words, message, tmp_path, capsys):
    assert bench.main(["--op", "residual", "--device", "cuda", "--results", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("cold", [0, 4096])
def test_a_turn_leaves_the_outputs_of_its_last_timed_call(contestant, cold):
    process, _, folder = contestant
    process.load(kind="variant", **ROLE)
    prepared(process, folder, cold)
    times = process.turn(count=2, samples=3, seed=5, last=1, warm=True)["ns"]
    assert len(times) == 3
    assert min(times) > 0
    process.save_outputs(seed=5, folder=str(folder), name="outputs")
    process.reference(op="residual", params={}, source=str(folder), number=1, values=5, seed=5, folder=str(folder))
    np.testing.assert_allclose(np.load(folder / "outputs.y.npy"), np.load(folder / "reference.y.npy"), rtol=1e-6)


def test_in_bfloat16_inputs_are_changed_outputs_poisoned_and_the_output_is_the_reference_rounded(contestant):
    process, _, folder = contestant
    op = process.table.op("layer_norm")
    problem = Problem(op.name, {"N": 3, "C": 16}, {"eps": 1e-5}, dtype="bfloat16", seed=4)
    for number in range(2):
        write_pristine(folder, number, materialise(op, problem))
    process.load(kind="variant", op="layer_norm", variant="cuda_vector", threads=1)
    what = {"dims": problem.dims, "params": problem.params, "dtype": problem.dtype}
    process.probe(**what, folder=str(folder))
    process.prepare(**what, folder=str(folder), sets=2, cold=0, heat=0)
    process.turn(count=1, samples=2, seed=5, last=1, warm=True)
    process.save_outputs(seed=5, folder=str(folder), name="outputs")
    process.reference(op=op.name, params=problem.params, source=str(folder), number=1, values=5, seed=5, folder=str(folder))
    assert load_array(folder / "outputs.y.npy").dtype == BFLOAT16
    assert disagreement(op, problem.dims, folder, "outputs") == ""
    given = process.buffers.sets[1]["x"].get().view(np.uint16) != load_pristine(folder, 1, op)["x"].view(np.uint16)
    assert 1 <= np.count_nonzero(given) <= 4
    process.buffers.freshen(1, (6, 0))
    assert np.isnan(process.buffers.sets[1]["y"].get().astype(np.float32)).all()
    outputs = load_array(folder / "outputs.y.npy")
    outputs[7] = outputs[7] * 1.02  # three units
    np.save(folder / "outputs.y.npy", outputs)
    assert "a timed call's y is wrong in 1 of 48" in disagreement(op, problem.dims, folder, "outputs")


@pytest.mark.parametrize("name", ["attention_backward", "adamw_master", "embedding"])
def test_in_bfloat16_a_right_kernel_agrees_with_torch(name, contestant):
    process, _, folder = contestant
    op = process.table.op(name)
    dims = {dim: next(v for v in values if v >= 3) for dim, values in op.domain.items()}
    problem = Problem(name, dims, params_for(op, dims), dtype="bfloat16", seed=7)
    for number in range(2):
        write_pristine(folder, number, materialise(op, dataclasses.replace(problem, seed=number)))
    process.load(kind="variant", op=name, variant="cuda_naive", threads=1)
    process.prepare(dims=dims, params=problem.params, dtype="bfloat16", folder=str(folder), sets=2, cold=0, heat=0)
    process.turn(count=1, samples=2, seed=5, last=1, warm=True)
    process.save_outputs(seed=5, folder=str(folder), name="outputs")
    process.reference(op=name, params=problem.params, source=str(folder), number=1, values=5, seed=5, folder=str(folder))
    assert disagreement(op, dims, folder, "outputs") == ""
    process.reference(op=name, params=problem.params, source=str(folder), number=0, values=5, seed=5, folder=str(folder))
    assert "a timed call's" in disagreement(op, dims, folder, "outputs")  # the buffers of the second set


def test_a_graph_is_captured_once_and_replayed(contestant, monkeypatch):
    process, _, folder = contestant
    process.load(kind="variant", **ROLE)
    prepared(process, folder, 0)
    captured = []
    capture = process._captured  # noqa: SLF001 (watched)
    monkeypatch.setattr(process, "_captured", lambda calls: captured.append(len(calls)) or capture(calls))
    for _ in range(3):
        process.turn(count=2, samples=2, seed=5, last=1, warm=False)
    assert captured == [2]
    assert process.release() == {}
    assert process.replays is None


def test_torch_works_on_the_contestant_s_stream_and_replays_a_graph_of_its_own(contestant, monkeypatch):
    process, *_ = contestant
    import torch

    names = ("set_stream", "ExternalStream", "current_stream", "CUDAGraph", "graph", "is_available")
    assert [name for name in names if not hasattr(torch.cuda, name)] == []
    events = []
    cuda = SimpleNamespace(
        set_stream=lambda stream: events.append(("stream", stream)),
        ExternalStream=lambda pointer: pointer,
        current_stream=lambda: "current",
        CUDAGraph=lambda: SimpleNamespace(replay=lambda: events.append("replayed")),
        graph=lambda _, stream: events.append(("captured on", stream)) or nullcontext(),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, set_num_threads=lambda _: None))
    process.load(kind="torch", **ROLE)
    process._captured([lambda: events.append("called")])()  # noqa: SLF001 (no GPU for torch here)
    assert events == [("stream", process.stream.ptr), ("captured on", "current"), "called", "replayed"]


def test_cold_batches_read_more_than_the_cache_first(contestant):
    process, _, folder = contestant
    process.load(kind="empty", **ROLE)
    prepared(process, folder, 1 << 20)
    assert process.scratch.nbytes == 2 << 20


def test_roofline_of_a_gpu_has_memory_and_bounds(contestant):
    roof = contestant[0].roofline(threads=1)
    assert roof["gb_s@1"] >= roof[f"gb_s@{1 << 20}"] > 0
    assert roof["gflops"] > 0


@pytest.mark.usefixtures("gpu")
def test_only_the_cold_protocol_empties_the_cache():
    cold, graph = (GpuSession(1, protocol) for protocol in PROTOCOLS["cuda"])
    assert (cold.cold_bytes, graph.cold_bytes, graph.cache_bytes) == (1 << 20, 0, 1 << 20)
