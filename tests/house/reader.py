"""What a reader of the pages has and the project has not: variants of their own, a text, and records of their machine."""

import re

from harness.race import champions
from models.workloads import workloads_of
from registry.fingerprint import contract_hash, source_hash
from registry.machine import machine_key, versions
from registry.paths import ROOT
from registry.records import Evidence, Row, Run, Store
from registry.table import discover
from tests.house.pages import code_lines

TUTORIAL = ROOT / "docs" / "tutorial.md"
REST_OF_ROWS = """for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - m) * r * weight[j] + bias[j]
        mean[i], rstd[i] = m, r
"""
KERNEL = """
extern "C" __global__ void layer_norm_mine(const float* x, const float* weight, const float* bias, float* y, float* mean,
                                           float* rstd, int channels, float eps) {
  __shared__ float sums[128];
  x += (long long)blockIdx.x * channels;
  y += (long long)blockIdx.x * channels;
  float total = 0.0f;
  for (int c = threadIdx.x; c < channels; c += 128) total += x[c];
  const float m = sum_of_block(total, sums) / channels;
  float squares = 0.0f;
  for (int c = threadIdx.x; c < channels; c += 128) squares += (x[c] - m) * (x[c] - m);
  const float r = 1.0f / sqrtf(sum_of_block(squares, sums) / channels + eps);
  for (int c = threadIdx.x; c < channels; c += 128) y[c] = (x[c] - m) * r * weight[c] + bias[c];
  if (threadIdx.x == 0) {
    mean[blockIdx.x] = m;
    rstd[blockIdx.x] = r;
  }
}
"""
TEXT = "To be, or not to be, that is the question.\n\n" * 200


def listing(marker):
    """Return the tutorial's listing that contains `marker`."""
    blocks, before = [[]], 0
    for number, line, _ in code_lines(TUTORIAL.read_text()):
        if number != before + 1:
            blocks.append([])
        blocks[-1].append(line)
        before = number
    [found] = ["\n".join(block) + "\n" for block in blocks if any(marker in line for line in block)]
    return found


def write_tutorial_variants(folder, *, sound):
    """Write the tutorial's two variants, as they end or, if not `sound`, with the fault that each is first shown with."""
    numba, shared = listing("def numba_mine"), listing("sum_of_block(")
    if sound:
        shared = shared.replace("{\n", "{\n  __syncthreads();\n", 1)  # "One barrier at the function's top"
    else:
        rows = listing("squares / x.shape[1] - m * m").replace("...\n", REST_OF_ROWS)
        numba = re.sub(r"@njit.*?(?=\n\n@register)", lambda _: rows, numba, flags=re.DOTALL)
    folder.mkdir()
    (folder / "numba_mine.py").write_text(numba)
    (folder / "cuda_mine.py").write_text(listing("def cuda_mine"))
    (folder / "cuda_mine.cu").write_text(shared + KERNEL)
    return folder


def write_own_variants(folder):
    """Write a numba variant and a CUDA variant for both dtypes, under the names that the other pages use."""
    folder.mkdir()
    (folder / "numba_mine.py").write_text(listing("def numba_mine"))
    for suffix in (".py", ".cu"):
        source = (ROOT / "kernels" / "layer_norm" / "cuda_warp").with_suffix(suffix).read_text()
        (folder / "cuda_mine").with_suffix(suffix).write_text(source.replace("def cuda_warp", "def cuda_mine"))
    return folder


def _race(variant, workload):
    """Return a made-up race that a variant won."""
    rows = [Row(variant=variant.name, source=source_hash(variant), status="passed", samples_ms=[1.0] * 9)]
    about = {"dims": dict(workload.dims), "params": dict(workload.params), "protocol": "cpu-warm", "threads": 1}
    return Run(op=variant.op.name, workload=workload.name, rows=rows, controls={}, roofline={"floor_ms": 0.1}, **about)


def write_records(folder, *variants):
    """Write made-up records: every variant counts as proven, and a numba variant of each op as champion."""
    table, store = discover(*variants), Store(folder)
    known = [v for of_op in table.variants.values() for v in of_op.values() if not v.is_reference]
    for place, here in (("cpu", "cpu"), ("sim", "cuda")):
        key, libraries = machine_key(place), versions(place)
        store.add_evidence(
            *(
                Evidence(
                    op=v.op.name, variant=v.name, source=source_hash(v), contract=contract_hash(v.op), status="passed",
                    problems=100, device=place, machine=key, versions=libraries,
                )
                for v in known if v.device == here
            )
        )  # fmt: skip
    winners = {v.op.name: v for v in known if v.backend == "numba" and not v.name.endswith(("_naive", "_mine"))}
    for op, variant in winners.items():
        store.add_run(*(_race(variant, workload) for workload in workloads_of(table.op(op))))
    champions.refresh(store, table)
    return folder
