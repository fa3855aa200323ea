"""The counters of a checked launch: sectors, bank conflicts, bytes, operations, branches."""

import numpy as np
import pytest

from tests.simulator.sources import only_kernel

STRIDE = """
extern "C" __global__ void stride(const float* x, float* y, int step) {
  y[threadIdx.x] = 2.0f * x[threadIdx.x * step] + 1.0f;
}
"""
BANKS = """
extern "C" __global__ void banks(float* y, int step) {
  __shared__ float s[1024];
  for (int i = threadIdx.x; i < 1024; i += 32) s[i] = i;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x * step];
}
"""
BRANCH = """
extern "C" __global__ void branch(float* y, int limit) {
  if (threadIdx.x % 32 < limit) atomicAdd(y, 1.0f); else atomicAdd(y + 1, 1.0f);
}
"""


def line(done, text, code):
    number = next(n for n, content in enumerate(code.splitlines(), start=1) if text in content)
    return next(counts for (_, at), counts in done.counters.lines.items() if at == number)


@pytest.mark.parametrize(("step", "sectors"), [(0, 1), (1, 4), (2, 8), (8, 32), (31, 32)])
def test_sectors_of_a_request(step, sectors):
    x, y = np.zeros(32 * 32 + 8, np.float32), np.zeros(64, np.float32)
    x = x[(-x.ctypes.data % 32) // 4 :]
    y = y[(-y.ctypes.data % 32) // 4 :]
    done = only_kernel(STRIDE).launch(1, 32, (x, y, step), mode="checked")
    counts = line(done, "y[threadIdx.x]", STRIDE)
    assert (counts.requests, counts.sectors, counts.ideal_sectors) == (2, sectors + 4, 8)
    assert (counts.bytes_loaded, counts.bytes_stored) == (128, 128)
    assert counts.flops == {"f32": 64}
    assert done.counters.total.sectors == counts.sectors
    assert done.counters.mix["fma"] == 1


@pytest.mark.parametrize(("step", "turns"), [(0, 1), (1, 1), (2, 2), (3, 1), (4, 4), (16, 16), (31, 1)])
def test_bank_conflicts(step, turns):
    done = only_kernel(BANKS).launch(1, 32, (np.zeros(32, np.float32), step), mode="checked")
    counts = line(done, "y[threadIdx.x]", BANKS)
    assert (counts.shared_requests, counts.wavefronts, counts.bank_conflicts) == (1, turns, turns - 1)


@pytest.mark.parametrize(("limit", "divergent"), [(0, 0), (7, 2), (32, 0)])
def test_branch_efficiency(limit, divergent):
    y = np.zeros(2, np.float32)
    done = only_kernel(BRANCH).launch(1, 64, (y, limit), mode="checked")
    assert y.tolist() == [2 * limit, 64 - 2 * limit]
    assert (done.counters.branches, done.counters.divergent_branches) in {(2, divergent), (0, 0)}


def test_launches_add_up():
    y = np.zeros(32, np.float32)
    one, two = (only_kernel(BANKS).launch(1, 32, (y, 2), mode="checked").counters for _ in range(2))
    requests = one.total.shared_requests
    one.add(two)
    assert one.total.shared_requests == 2 * requests
    assert sum(counts.shared_requests for counts in one.lines.values()) == 2 * requests
    assert only_kernel(BANKS).launch(1, 32, (y, 2)).counters is None
