"""The battery on the simulator: honest CUDA variants pass, planted faults are named with the line of their ``.cu``."""

import dataclasses

import pytest

from harness import verify
from harness.proof.battery import prove
from harness.proof.plan import Plan
from harness.proof.sandbox.client import Worker
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
CUDA = """extern "C" __global__ void add(const float* x1, const float* x2, float* y, long long size) {{
  __shared__ float sums[64];
  long long i = blockIdx.x * 64LL + threadIdx.x;
{body}
}}
"""
HONEST = "  if (i < size) y[i] = x1[i] + x2[i];"
PLANTED = {
    "cuda_wrong": ("failed", "", "  if (i < size) y[i] = x1[i] - x2[i];"),
    "cuda_beyond": ("out_of_bounds", "y[i] = x1[i]", "  y[i] = x1[i] + x2[i];"),
    "cuda_racing": (
        "race",
        "sums[63 - threadIdx.x]",
        """  sums[threadIdx.x] = i < size ? x1[i] + x2[i] : 0;
  float mirrored = sums[63 - threadIdx.x];
  __syncthreads();
  if (i < size) y[i] = mirrored == 1e30f ? 0 : sums[threadIdx.x];""",
    ),
    "cuda_divergent": (
        "barrier_divergence",
        "__syncthreads",
        """  if (threadIdx.x < 40) __syncthreads();
  if (i < size) y[i] = x1[i] + x2[i];""",
    ),
    "cuda_unset": (
        "uninitialised",
        "sums[threadIdx.x]",
        """  if (threadIdx.x > 0) sums[threadIdx.x] = 0;
  __syncthreads();
  if (i < size) y[i] = x1[i] + x2[i] + (sums[threadIdx.x] > 0 ? 1e-30f : 0);""",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write an honest CUDA variant, and one for each planted fault."""
    folder = tmp_path_factory.mktemp("cuda")
    for name, body in {"cuda_honest": HONEST, **{n: body for n, (_, _, body) in PLANTED.items()}}.items():
        (folder / f"{name}.py").write_text(PYTHON.format(name=name))
        (folder / f"{name}.cu").write_text(CUDA.format(body=body))
    return folder


@pytest.fixture(scope="module")
def proven(folder, reference_cache):
    """Return a function that proves the variant of a name."""
    table = discover(folder)
    with Worker([folder]) as worker:
        yield lambda name: prove(
            table.variant("residual", name), worker, Plan(examples=8, kernels_path=(folder,)), reference_cache
        )


def test_honest_variant_passes(proven):
    proof = proven("cuda_honest")
    assert proof.passed, str(proof)
    assert proof.tally.survivors == []
    assert proof.reproduce.endswith("--device sim --profile dev")


@pytest.mark.parametrize("name", PLANTED)
def test_planted_fault_is_named_with_its_line(name, proven):
    status, code, _ = PLANTED[name]
    proof = proven(name)
    assert proof.status == status, str(proof)
    assert (proof.gate == "simulation") == (status != "failed")
    if code:
        assert f"{name}.cu:" in proof.message
        assert code in proof.message
    assert "--device sim --problem" in proof.reproduce


def test_a_sum_kept_in_bfloat16_is_rejected_although_stored_numbers_have_few_digits(tmp_path, reference_cache):
    """The kernel of docs/cuda.md: right in float32, and wrong in bfloat16 by more than the rounding."""
    honest = discover().variant("layer_norm", "cuda_warp").path
    code = honest.read_text().replace("def cuda_warp", "def cuda_mine")
    (tmp_path / "cuda_mine.py").write_text(code)
    source = honest.with_suffix(".cu").read_text()
    for right, wrong in (("float total = 0.0f;", "floatX total = 0.0f;"), ("total += x[c];", "total = total + x[c];")):
        assert source.count(right) == 1
        source = source.replace(right, wrong)
    (tmp_path / "cuda_mine.cu").write_text(source)
    variant = discover(tmp_path).variant("layer_norm", "cuda_mine")
    with Worker([tmp_path]) as worker:
        plan = Plan(examples=8, kernels_path=(tmp_path,))
        narrowed = [dataclasses.replace(variant, dtypes=(d,)) for d in ("float32", "bfloat16")]
        right, wrong = (prove(v, worker, plan, reference_cache) for v in narrowed)
    assert right.passed, str(right)
    assert (wrong.status, wrong.gate) == ("failed", "values"), str(wrong)
    assert "besides the rounding" in wrong.message
    assert "dtype=bfloat16" in wrong.reproduce


def test_evidence_of_the_simulator_has_the_simulator_as_its_device(folder, tmp_path):
    words = ["--op", "residual", "--kernels-path", str(folder), "--results", str(tmp_path), "--examples", "6"]
    assert verify.main([*words, "--variant", "cuda_honest", "--device", "sim"]) == 0
    variant = discover(folder).variant("residual", "cuda_honest")
    assert Store(tmp_path).require_proof(variant).device == "sim"
    assert Store(tmp_path).proof(variant, "cuda") is None


def test_a_request_for_a_cuda_variant_on_the_cpu_names_its_devices(folder, capsys):
    words = ["--op", "residual", "--kernels-path", str(folder), "--variant", "cuda_honest", "--device", "cpu"]
    assert verify.main(words) == 2
    assert "--device sim" in capsys.readouterr().err
