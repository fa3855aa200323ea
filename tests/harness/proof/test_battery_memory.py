"""Kernels that depend on the contents of memory before a call, and kernels that write far outside their arrays."""

import pytest

from harness.proof.battery import prove, prove_on
from harness.proof.plan import Plan
from harness.proof.sandbox.client import Limits, Worker
from registry.problem import parse_problem
from registry.table import discover

FILE = '''"""{name}.

Idea: a test.
Source: a test.
"""
import ctypes
import numpy as np
from kernels.{family}.spec import {constant}
from registry import register

def soften(x):
    e = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=1, keepdims=True)

def kept(array):
    """Return the contents of an array, with zeros instead of NaN."""
    return np.where(np.isnan(array), 0, array)

def beyond(array, distance):
    """Return the number some bytes after the end of an array, or before its start."""
    start = array.ctypes.data + (array.nbytes if distance >= 0 else 0)
    return ctypes.c_float.from_address(start + distance)

@register({constant}{options})
def {name}({arguments}):
    {body}
'''
SCRATCH = ", workspace=lambda threads, N, C: N * C + 1"
# Per name: the op, the gate that must reject it, and the body. All are right if memory holds NaN before every call.
RELYING = {
    "numpy_adds_to_its_output": ("softmax", "memory", "y[:] = soften(x) + kept(y)"),
    "numpy_keeps_large_values": ("softmax", "memory", "y[:] = np.where(np.abs(y) > 0.01, y, soften(x))"),
    "numpy_adds_to_what_it_must_overwrite": (
        "matmul_backward_bias",
        "memory",
        "dbias[:] = dy.sum(axis=0) + kept(dbias)",
    ),
    "numpy_clears_scratch_of_nan": (
        "softmax",
        "memory",
        "workspace[:] = kept(workspace); workspace[1:] += soften(x).reshape(-1); y.flat = workspace[1:]; workspace[:] = np.nan",
    ),
    "numpy_leaves_scratch_cleared": (
        "softmax",
        "memory",
        "workspace[:] = kept(workspace); workspace[1:] += soften(x).reshape(-1); y.flat = workspace[1:]; workspace[:] = 0",
    ),
    "numpy_finds_its_last_answer_in_scratch": (
        "softmax",
        "statelessness",
        "workspace[1:] = workspace[1:] if workspace[0] == 777 else soften(x).flat; workspace[0] = 777; y.flat = workspace[1:]",
    ),
    "numpy_writes_only_what_is_not_there": (
        "softmax",
        "statelessness",
        "if workspace[0] != 777: y[:] = soften(x)\n    workspace[0] = 777",
    ),
}
DISTANCES = [sign * size for size in (2 << 10, 64 << 10, 1 << 20) for sign in (1, -1)]
FAR = [64 << 20, -(64 << 20)]


def text_of(name, op, body, options=""):
    family = "matmul" if op.startswith("matmul") else op
    arguments = {"softmax": "x, y", "matmul_backward_bias": "dy, dbias, *, accumulate"}[op]
    if "workspace" in body:
        options, arguments = SCRATCH, f"{arguments}, *, workspace"
    fields = {"family": family, "constant": op.upper(), "arguments": arguments, "options": options}
    return FILE.format(name=name, body=body, **fields)


def far(distance):
    """Return the name of the kernel that writes `distance` bytes away from its output."""
    return f"numpy_writes_{'behind' if distance > 0 else 'before'}_{abs(distance)}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write the planted variants."""
    folder = tmp_path_factory.mktemp("memory")
    for name, (op, _, body) in RELYING.items():
        (folder / f"{name}.py").write_text(text_of(name, op, body))
    for distance in (*DISTANCES, *FAR):
        body = f"y[:] = soften(x); beyond(y, {distance}).value = 1.0"
        (folder / f"{far(distance)}.py").write_text(text_of(far(distance), "softmax", body))
    honest = text_of("numpy_uses_scratch", "softmax", "workspace[1:] = soften(x).reshape(-1); y.flat = workspace[1:]")
    (folder / "numpy_uses_scratch.py").write_text(honest)
    (folder / "numpy_reaches_far.py").write_text(
        text_of("numpy_reaches_far", "softmax", "y[:] = soften(x); y.flat[-1:] = beyond(y, -(1 << 24)).value")
    )
    return folder


@pytest.fixture(scope="module")
def worker(folder):
    """Start a worker with these variants."""
    with Worker([folder], Limits(first_seconds=30.0, seconds=10.0)) as process:
        yield process


def planted(folder, name):
    table = discover(folder)
    assert table.unloadable == []
    return table.variant(RELYING.get(name, ["softmax"])[0], name)


@pytest.mark.parametrize("name", RELYING)
def test_a_kernel_that_relies_on_the_contents_of_memory_is_rejected(name, folder, worker, reference_cache):
    proof = prove(planted(folder, name), worker, Plan(kernels_path=(folder,)), reference_cache)
    assert (proof.status, proof.gate) == ("failed", RELYING[name][1]), str(proof)


@pytest.mark.parametrize("name", [n for n, (_, gate, _) in RELYING.items() if gate == "memory"])
def test_the_message_names_the_contents_of_memory_and_the_line_reproduces_the_failure(name, folder, worker, reference_cache):
    variant = planted(folder, name)
    proof = prove(variant, worker, Plan(kernels_path=(folder,)), reference_cache)
    assert "in its outputs and scratch memory before the call, instead of NaN: " in proof.message
    again = prove_on(variant, worker, Plan(), proof.problem, reference_cache)
    assert (again.gate, again.message) == (proof.gate, proof.message)


def test_an_honest_kernel_with_scratch_memory_passes(folder, worker, reference_cache):
    proof = prove(planted(folder, "numpy_uses_scratch"), worker, Plan(), reference_cache)
    assert proof.passed, str(proof)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_write_far_beside_an_output_is_seen_on_any_problem(distance, folder, worker, reference_cache):
    variant = planted(folder, far(distance))
    for line in ("N=3 C=5", "N=300 C=700", "N=3 C=5 layout=offset"):
        proof = prove_on(variant, worker, Plan(), parse_problem(variant.op, line), reference_cache)
        side = "past the end of 'y'" if distance > 0 else "before the start of 'x'"
        seen = "wrote out of bounds" in proof.message and side in proof.message
        # The address 2 KiB or 64 KiB before y may be in x.
        assert proof.gate == "memory"
        assert seen or "changed its input 'x'" in proof.message or "before the start of 'y'" in proof.message, proof.message


@pytest.mark.parametrize("name", [*map(far, FAR), "numpy_reaches_far"])
def test_an_access_outside_the_memory_of_the_call_ends_the_process(name, folder, worker, reference_cache):
    variant = planted(folder, name)
    proof = prove_on(variant, worker, Plan(), parse_problem(variant.op, "N=3 C=5"), reference_cache)
    assert (proof.status, proof.gate) == ("crashed", "isolation"), str(proof)
    assert "SIGSEGV" in proof.message


def test_a_cuda_kernel_that_relies_on_nan_is_rejected_in_the_simulator(tmp_path, reference_cache):
    (tmp_path / "cuda_adds.py").write_text('''"""Sums.

Idea: a test.
Source: a test.
"""
from kernels.residual.spec import RESIDUAL
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "add")

@register(RESIDUAL)
def cuda_adds(x1, x2, y):
    before = y.copy()  # on the CPU side, where the simulator sees no uninitialised read
    if y.size:
        launch(_KERNEL, (y.size + 63) // 64, 64, (x1, x2, y, y.size))
    known = before == before
    y[known] += before[known]
''')
    (tmp_path / "cuda_adds.cu").write_text(
        'extern "C" __global__ void add(const float* x1, const float* x2, float* y, long long size) {\n'
        "  long long i = blockIdx.x * 64LL + threadIdx.x;\n  if (i < size) y[i] = x1[i] + x2[i];\n}\n"
    )
    variant = discover(tmp_path).variant("residual", "cuda_adds")
    with Worker([tmp_path]) as own:
        proof = prove(variant, own, Plan(examples=8, kernels_path=(tmp_path,)), reference_cache)
    assert (proof.status, proof.gate) == ("failed", "memory"), str(proof)
