"""The battery on a (stand-in) GPU: its own evidence, guard bands on the GPU, and the loss of the GPU by an illegal access."""

from contextlib import nullcontext

import numpy as np
import pytest

from harness import verify
from harness.proof.battery import prove
from harness.proof.cases.values import materialise
from harness.proof.plan import Plan
from harness.proof.sandbox.buffers import Buffers
from harness.proof.sandbox.client import DeviceSettings, Raised, Worker
from registry.machine import machine_key, versions
from registry.problem import Problem
from registry.records import Store
from registry.table import discover

PYTHON = '''"""Sums on the GPU.

Idea: a test.
Source: a test.
"""
from kernels.residual.spec import RESIDUAL
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "add")

@register(RESIDUAL)
def {name}(x1, x2, y):
    if y.size:
        launch(_KERNEL, (y.size + 63) // 64, 64, (x1, x2, y, y.size))
'''
# The simulator keeps arrays apart, so a Python statement instead of the kernel writes behind the array.
BEYOND = """        import numpy
        numpy.lib.stride_tricks.as_strided(y._memory.reshape(-1), (y.size + 1,))[-1] = 0
"""
CUDA = """extern "C" __global__ void add(const float* x1, const float* x2, float* y, long long size) {{
  long long i = blockIdx.x * 64LL + threadIdx.x;
  {body}
}}
"""
BODIES = {
    "cuda_good": "if (i < size) y[i] = x1[i] + x2[i];",
    "cuda_far": "if (i < size) y[i + (size > 64 ? 1LL << 40 : 0)] = x1[i] + x2[i];",
}


@pytest.fixture
def folder(tmp_path):
    """Write the variant files."""
    (tmp_path / "cuda_beyond.py").write_text(PYTHON.format(name="cuda_beyond") + BEYOND)
    (tmp_path / "cuda_beyond.cu").write_text(CUDA.format(body=BODIES["cuda_good"]))
    for name, body in BODIES.items():
        (tmp_path / f"{name}.py").write_text(PYTHON.format(name=name))
        (tmp_path / f"{name}.cu").write_text(CUDA.format(body=body))
    return tmp_path


@pytest.mark.usefixtures("gpu")
def test_evidence_of_a_gpu_stands_under_its_name(folder, tmp_path, capsys):
    words = ["--op", "residual", "--kernels-path", str(folder), "--results", str(tmp_path / "results"), "--examples", "6"]
    assert verify.main([*words, "--variant", "cuda_good", "--device", "cuda"]) == 0, capsys.readouterr().out
    assert machine_key("cuda") == f"fake-gpu-1-{machine_key()}"
    variant = discover(folder).variant("residual", "cuda_good")
    store = Store(tmp_path / "results", machine_key("cuda"))
    proof = store.require_proof(variant, "cuda")
    assert (proof.device, proof.machine) == ("cuda", machine_key("cuda"))
    assert proof.versions == versions("sim") | {"cupy": "14.fake", "cuda": "13000"}
    assert store.proof(variant, "sim") is None
    assert Store(tmp_path / "results").evidence() == []


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("name", "gate", "message"), [("cuda_beyond", "memory", "past the end"), ("cuda_far", "contract", "Illegal")]
)
def test_wrong_access_on_a_gpu_is_found(folder, reference_cache, name, gate, message):
    variant = discover(folder).variant("residual", name)
    with Worker([folder]) as worker:
        proof = prove(variant, worker, Plan(examples=8, kernels_path=(folder,), gpu=True), reference_cache)
    assert (proof.status, proof.gate) == ("failed", gate), str(proof)
    assert message in proof.message
    assert "--device cuda --problem" in proof.reproduce


@pytest.mark.usefixtures("gpu")
def test_a_lost_gpu_is_there_again_at_the_next_call(folder):
    variant = discover(folder).variant("residual", "cuda_far")
    with Worker([folder]) as worker:
        for rows, lost in ((2, False), (40, True), (2, False)):
            problem = Problem("residual", {"N": rows, "C": 3}, {})
            buffers, values = Buffers(variant.op, problem), materialise(variant.op, problem)
            buffers.fill(worker.memory, values)
            with pytest.raises(Raised, match="CUDARuntimeError") if lost else nullcontext():
                worker.call(variant, buffers, 1, DeviceSettings("cuda"))
            if not lost:
                np.testing.assert_array_equal(buffers.outputs(worker.memory)["y"], values["x1"] + values["x2"])
