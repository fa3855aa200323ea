"""Every kind of finding: a kernel with a planted fault has it, and the corrected kernel has no finding."""

import numpy as np
import pytest

from simulator.interface.findings import KINDS
from tests.simulator.sources import only_kernel

N = 64


def x():
    return np.arange(N, dtype=np.float32)


def zeros(n=N, kind=np.float32):
    return np.zeros(n, kind)


def locked():
    values = x()
    values.flags.writeable = False
    return values


HEAD = 'extern "C" __global__ void planted'
PLANTED = {
    # name: (kind, faulty body, corrected body, arguments, grid, block)
    "beyond an array": (
        "out_of_bounds",
        "(const float* x, float* y, int n) { int i = threadIdx.x; y[i] = x[i + 1]; }",
        "(const float* x, float* y, int n) { int i = threadIdx.x; y[i] = i + 1 < n ? x[i + 1] : 0; }",
        lambda: (x(), zeros(), N), 1, N,
    ),
    "before an array": (
        "out_of_bounds",
        "(float* y) { int i = threadIdx.x; y[i - 1] = i; }",
        "(float* y) { int i = threadIdx.x; y[i] = i; }",
        lambda: (zeros(),), 1, N,
    ),
    "beyond shared memory": (
        "out_of_bounds",
        "(float* y) { __shared__ float s[64]; int i = threadIdx.x; s[i + (int)y[i]] = i; __syncthreads(); y[i] = s[i]; }",
        """(float* y) { __shared__ float s[128]; int i = threadIdx.x; s[i] = 1; s[i + (int)y[i]] = i;
         __syncthreads(); y[i] = s[0]; }""",
        lambda: (np.where(np.arange(N) == 63, 64, 0).astype(np.float32),), 1, N,
    ),
    "from one shared array into the next": (
        "out_of_bounds",
        """(float* y) { __shared__ float s[64], t[64]; int i = threadIdx.x; t[i] = s[i] = i; __syncthreads();
         y[i] = s[i + (y[i] > 0)] + t[i]; }""",
        """(float* y) { __shared__ float s[64], t[64]; int i = threadIdx.x; t[i] = s[i] = i; __syncthreads();
         y[i] = s[i - (y[i] > 0)] + t[i]; }""",
        lambda: (np.where(np.arange(N) == 63, 1, 0).astype(np.float32),), 1, N,
    ),
    "a null pointer": (
        "out_of_bounds",
        "(const float* x, float* y) { y[threadIdx.x] = *x; }",
        "(const float* x, float* y) { y[threadIdx.x] = x ? *x : 0; }",
        lambda: (None, zeros()), 1, N,
    ),
    "four floats at once from any address": (
        "misaligned",
        "(const float* x, float* y) { float4 v = *(const float4*)(x + 1 + 4 * threadIdx.x); y[threadIdx.x] = v.x + v.w; }",
        "(const float* x, float* y) { const float* v = x + 1 + 4 * threadIdx.x; y[threadIdx.x] = v[0] + v[3]; }",
        lambda: (x(), zeros()), 1, 8,
    ),
    "an input is written": (
        "read_only",
        "(float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; x[threadIdx.x] = 0; }",
        "(float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }",
        lambda: (locked(), zeros()), 1, N,
    ),
    "uninitialised shared memory": (
        "uninitialised",
        "(float* y) { __shared__ float s[64]; int i = threadIdx.x; if (i < 60) s[i] = i; __syncthreads(); y[i] = s[63 - i]; }",
        "(float* y) { __shared__ float s[64]; int i = threadIdx.x; s[i] = i; __syncthreads(); y[i] = s[63 - i]; }",
        lambda: (zeros(),), 1, N,
    ),
    "no barrier after a write": (
        "race",
        "(float* y) { __shared__ float s[64]; int i = threadIdx.x; s[i] = i; y[i] = s[63 - i]; }",
        "(float* y) { __shared__ float s[64]; int i = threadIdx.x; s[i] = i; __syncthreads(); y[i] = s[63 - i]; }",
        lambda: (zeros(),), 1, N,
    ),
    "no barrier before the next write": (
        "race",
        """(float* y) { __shared__ float s[64]; int i = threadIdx.x; float t = 0;
         for (int k = 0; k < 3; k++) { s[i] = i + k; __syncthreads(); t += s[63 - i]; } y[i] = t; }""",
        """(float* y) { __shared__ float s[64]; int i = threadIdx.x; float t = 0;
         for (int k = 0; k < 3; k++) { s[i] = i + k; __syncthreads(); t += s[63 - i]; __syncthreads(); } y[i] = t; }""",
        lambda: (zeros(),), 1, N,
    ),
    "lanes of one warp without __syncwarp": (
        "race",
        '(float* y) { __shared__ float s[32]; int i = threadIdx.x; s[i] = i; asm("":::"memory"); y[i] = s[31 - i]; }',
        "(float* y) { __shared__ float s[32]; int i = threadIdx.x; s[i] = i; __syncwarp(); y[i] = s[31 - i]; }",
        lambda: (zeros(),), 1, 32,
    ),
    "blocks write the same place": (
        "race",
        "(float* y) { y[threadIdx.x] = blockIdx.x; }",
        "(float* y) { y[blockIdx.x * blockDim.x + threadIdx.x] = blockIdx.x; }",
        lambda: (zeros(),), 2, N // 2,
    ),
    "a sum without atomics": (
        "race",
        "(float* y) { if (threadIdx.x == 0) y[0] += 1; }",
        "(float* y) { if (threadIdx.x == 0) atomicAdd(y, 1); }",
        lambda: (zeros(),), 3, N,
    ),
    "the same value, twice": (
        "same_value_race",
        "(float* y) { y[0] = 3; }",
        "(float* y) { if (threadIdx.x == 0) y[0] = 3; }",
        lambda: (zeros(),), 1, N,
    ),
    "a barrier some lanes pass by": (
        "barrier_divergence",
        """(float* y) { __shared__ float s[64]; int i = threadIdx.x; s[i] = i;
         if (i < 40) { __syncthreads(); y[i] = s[i]; } else { __syncthreads(); y[i] = -s[i]; } }""",
        "(float* y) { __shared__ float s[64]; int i = threadIdx.x; s[i] = i; __syncthreads(); y[i] = i < 40 ? s[i] : -s[i]; }",
        lambda: (zeros(),), 1, N,
    ),
    "two barriers for two warps": (
        "barrier_divergence",
        """(float* y) { int i = threadIdx.x;
         if (i < 32) { y[i] = 1;
           __syncthreads(); } else {
           __syncthreads(); y[i] = 2; } }""",
        "(float* y) { int i = threadIdx.x; y[i] = i < 32 ? 1 : 2; __syncthreads(); }",
        lambda: (zeros(),), 1, N,
    ),
    "threads that have left before a barrier": (
        "barrier_divergence",
        "(float* y) { int i = threadIdx.x; if (y[i] != 0) return; __syncthreads(); y[i] = 1; }",
        "(float* y) { int i = threadIdx.x; bool on = y[i] == 0; __syncthreads(); if (on) y[i] = 1; }",
        lambda: (np.arange(N, dtype=np.float32) // 50,), 1, N,
    ),
    "a shuffle with lanes that went elsewhere": (
        "barrier_divergence",
        """(float* y) { int i = threadIdx.x;
         if (y[i] == 0) y[i] = __shfl_xor_sync(~0u, i, 1); else { __syncwarp(); y[i] = 2; } }""",
        "(float* y) { int i = threadIdx.x; float v = __shfl_xor_sync(0xffffffffu, i, 1); y[i] = y[i] == 0 ? v : 2; }",
        lambda: (np.arange(32, dtype=np.float32) // 16,), 1, 32,
    ),
    "a lane outside its own mask": (
        "barrier_divergence",
        "(float* y) { int i = threadIdx.x; y[i] = __shfl_xor_sync(0xffffu, i, 1); }",
        "(float* y) { int i = threadIdx.x; y[i] = __shfl_xor_sync(0xffffffffu, i, 1); }",
        lambda: (zeros(32),), 1, 32,
    ),
    "a lane outside the second mask": (
        "barrier_divergence",
        """(float* y) { int i = threadIdx.x;
         float v = __shfl_xor_sync(~0u, (float)i, 1); y[i] = __shfl_xor_sync(0xffffu, v, 2); }""",
        "(float* y) { int i = threadIdx.x; float v = __shfl_xor_sync(~0u, (float)i, 1); y[i] = __shfl_xor_sync(~0u, v, 2); }",
        lambda: (zeros(32),), 1, 32,
    ),
    "a flag that no thread sets": (
        "deadlock",
        "(volatile int* flag, float* y) { if (threadIdx.x == 0) while (!flag[0]) ; y[threadIdx.x] = 1; }",
        "(volatile int* flag, float* y) { if (threadIdx.x == 0) while (!flag[0]) flag[0] = 1; y[threadIdx.x] = 1; }",
        lambda: (zeros(1, np.int32), zeros()), 1, N,
    ),
    "a named barrier for more threads than come": (
        "deadlock",
        '(float* y) { asm volatile("bar.sync 1, 96;"); y[threadIdx.x] = 1; }',
        '(float* y) { asm volatile("bar.sync 1, 64;"); y[threadIdx.x] = 1; }',
        lambda: (zeros(),), 1, N,
    ),
    "a trap": (
        "trap",
        "(float* y) { if (threadIdx.x == 5) __trap(); y[threadIdx.x] = 1; }",
        "(float* y) { if (threadIdx.x == 500) __trap(); y[threadIdx.x] = 1; }",
        lambda: (zeros(),), 1, N,
    ),
    "a copy read too early": (
        "missing_wait",
        """(const float* x, float* y) { __shared__ __align__(16) float s[64]; int i = threadIdx.x;
         asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"((unsigned)__cvta_generic_to_shared(s + i)), "l"(x + i));
         asm volatile("cp.async.commit_group;" ::: "memory"); y[i] = s[i]; }""",
        """(const float* x, float* y) { __shared__ __align__(16) float s[64]; int i = threadIdx.x;
         asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"((unsigned)__cvta_generic_to_shared(s + i)), "l"(x + i));
         asm volatile("cp.async.commit_group;" ::: "memory");
         asm volatile("cp.async.wait_group 0;" ::: "memory"); y[i] = s[i]; }""",
        lambda: (x(), zeros()), 1, N,
    ),
    "a copy waited for, without a barrier for the others": (
        "race",
        """(const float* x, float* y) { __shared__ __align__(16) float s[64]; int i = threadIdx.x;
         asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"((unsigned)__cvta_generic_to_shared(s + i)), "l"(x + i));
         asm volatile("cp.async.commit_group;" ::: "memory"); __syncthreads();
         asm volatile("cp.async.wait_group 0;" ::: "memory"); y[i] = s[63 - i]; }""",
        """(const float* x, float* y) { __shared__ __align__(16) float s[64]; int i = threadIdx.x;
         asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"((unsigned)__cvta_generic_to_shared(s + i)), "l"(x + i));
         asm volatile("cp.async.commit_group;" ::: "memory");
         asm volatile("cp.async.wait_group 0;" ::: "memory"); __syncthreads(); y[i] = s[63 - i]; }""",
        lambda: (x(), zeros()), 1, N,
    ),
    "the last block without a fence": (
        "race",
        """(const float* x, float* y, unsigned* done) { __shared__ bool last;
         if (threadIdx.x == 0) { y[1 + blockIdx.x] = x[blockIdx.x]; last = atomicInc(done, gridDim.x - 1) == gridDim.x - 1; }
         __syncthreads();
         if (last && threadIdx.x == 0) { float s = 0; for (int i = 0; i < gridDim.x; i++) s += y[1 + i]; y[0] = s; } }""",
        """(const float* x, float* y, unsigned* done) { __shared__ bool last;
         if (threadIdx.x == 0) { y[1 + blockIdx.x] = x[blockIdx.x]; __threadfence();
           last = atomicInc(done, gridDim.x - 1) == gridDim.x - 1; }
         __syncthreads();
         if (last && threadIdx.x == 0) { float s = 0; for (int i = 0; i < gridDim.x; i++) s += y[1 + i]; y[0] = s; } }""",
        lambda: (x(), zeros(), zeros(1, np.uint32)), 4, 32,
    ),
    "the last block, fenced before the others of the block were done": (
        "race",
        """(const float* x, float* y, unsigned* done) { __shared__ bool last; int i = blockIdx.x * 32 + threadIdx.x;
         y[1 + i] = x[i];
         if (threadIdx.x == 0) { __threadfence(); last = atomicInc(done, gridDim.x - 1) == gridDim.x - 1; }
         __syncthreads();
         if (last && threadIdx.x == 0) { float s = 0; for (int i = 0; i < gridDim.x * 32; i++) s += y[1 + i]; y[0] = s; } }""",
        """(const float* x, float* y, unsigned* done) { __shared__ bool last; int i = blockIdx.x * 32 + threadIdx.x;
         y[1 + i] = x[i];
         __syncthreads();
         if (threadIdx.x == 0) { __threadfence(); last = atomicInc(done, gridDim.x - 1) == gridDim.x - 1; }
         __syncthreads();
         if (last && threadIdx.x == 0) { float s = 0; for (int i = 0; i < gridDim.x * 32; i++) s += y[1 + i]; y[0] = s; } }""",
        lambda: (x(), zeros(N + 1), zeros(1, np.uint32)), 2, 32,
    ),
    "a fence of the block for another block": (
        "race",
        """(const float* x, float* y, unsigned* done) {
         if (threadIdx.x == 0) { y[1 + blockIdx.x] = x[blockIdx.x]; __threadfence_block();
           if (atomicInc(done, gridDim.x - 1) == gridDim.x - 1) y[0] = y[1] + y[2]; } }""",
        """(const float* x, float* y, unsigned* done) {
         if (threadIdx.x == 0) { y[1 + blockIdx.x] = x[blockIdx.x]; __threadfence();
           if (atomicInc(done, gridDim.x - 1) == gridDim.x - 1) y[0] = y[1] + y[2]; } }""",
        lambda: (x(), zeros(), zeros(1, np.uint32)), 2, 32,
    ),
}  # fmt: skip
NAMES = sorted(PLANTED)
orders = pytest.mark.parametrize("order", ["ascending", "descending", 5])


@orders
@pytest.mark.parametrize("name", NAMES)
def test_the_planted_fault_is_found(name, order):
    kind, faulty, _, arguments, grid, block = PLANTED[name]
    done = only_kernel(HEAD + faulty).launch(grid, block, arguments(), mode="checked", order=order)
    assert kind in {finding.kind for finding in done.findings}
    first = next(finding for finding in done.findings if finding.kind == kind)
    assert first.code.strip() in HEAD + faulty
    assert first.count >= 1
    assert first.path.endswith(".cu")


@orders
@pytest.mark.parametrize("name", NAMES)
def test_its_corrected_twin_is_clean(name, order):
    _, _, corrected, arguments, grid, block = PLANTED[name]
    done = only_kernel(HEAD + corrected).launch(grid, block, arguments(), mode="checked", order=order)
    assert (done.status, [str(finding) for finding in done.findings]) == ("ok", [])


def test_every_kind_is_planted():
    assert {planted[0] for planted in PLANTED.values()} == set(KINDS) - {"unsupported"}


def test_an_uninitialised_read_of_an_argument_is_found_if_the_launch_names_the_argument():
    code = HEAD + "(float* y, float* scratch) { y[threadIdx.x] = y[threadIdx.x] + scratch[threadIdx.x]; }"
    y = zeros()
    clean = only_kernel(code).launch(1, N, (y, zeros()), mode="checked")
    uninitialised = only_kernel(code).launch(1, N, (y, zeros()), mode="checked", unwritten=(1,))
    assert clean.findings == []
    assert [(f.kind, f.count) for f in uninitialised.findings] == [("uninitialised", N)]
    assert "argument 1, byte 0 of 256" in uninitialised.findings[0].message


def test_an_uninitialised_register_is_a_nan():
    code = HEAD + "(float* y, int n) { float sum; for (int i = 0; i < n; i++) sum += i; y[0] = sum; }"
    y = zeros(1)
    only_kernel(code).launch(1, 1, (y, 4), mode="checked")
    assert np.isnan(y[0])


@pytest.mark.parametrize("kind", ["out_of_bounds", "trap", "deadlock", "barrier_divergence"])
def test_a_fault_that_stops_a_checked_launch_stops_a_fast_launch(kind):
    name = {
        "out_of_bounds": "a null pointer",
        "trap": "a trap",
        "deadlock": "a named barrier for more threads than come",
        "barrier_divergence": "a shuffle with lanes that went elsewhere",
    }[kind]
    _, faulty, _, arguments, grid, block = PLANTED[name]
    done = only_kernel(HEAD + faulty).launch(grid, block, arguments())
    assert (done.status, [finding.kind for finding in done.findings]) == (kind, [kind])


def test_a_static_shared_array_does_not_run_into_the_dynamic_one():
    code = """(float* y) { __shared__ float s[64]; extern __shared__ float t[]; int i = threadIdx.x;
      t[i] = s[i] = i; __syncthreads(); y[i] = s[i + %s] + t[i]; }"""
    for more, status in (("0", "ok"), ("1", "out_of_bounds")):
        done = only_kernel(HEAD + code % more).launch(1, N, (zeros(),), shared=4 * N, mode="checked")
        assert (done.status, [f.kind for f in done.findings]) == (status, [status] * (status != "ok"))
    assert "0 bytes past the end of shared memory (256 bytes)" in done.findings[0].message


def test_gaps_between_shared_arrays_do_not_count_toward_the_48_kib():
    code = (
        HEAD
        + "(float* y) { __shared__ float s[4096], t[4096], u[4096]; s[0] = t[1] = u[2] = y[0]; y[1] = s[0] + t[1] + u[2]; }"
    )
    assert only_kernel(code).launch(1, 1, (zeros(),), mode="checked").status == "ok"


def test_a_finding_has_line_place_and_thread():
    code = "// a comment\n" + HEAD + "(float* y) {\n  int i = threadIdx.x;\n  y[i + 1] = i;\n}\n"
    done = only_kernel(code).launch(1, N, (zeros(),), mode="checked")
    (finding,) = done.findings
    assert (done.status, finding.line, finding.code, finding.block, finding.thread) == (
        "out_of_bounds",
        4,
        "y[i + 1] = i;",
        0,
        63,
    )
    assert "0 bytes past the end of argument 0 (256 bytes)" in str(finding)


@pytest.mark.parametrize("after", range(0, 256, 4))
@pytest.mark.parametrize(("index", "place"), [("N", "0 bytes past the end of argument 0"), ("-1", "4 bytes before argument 0")])
def test_a_stray_address_is_named_after_the_nearest_array_at_every_offset(after, index, place):
    """With the first byte after an array where shared memory would begin, it was called shared memory."""
    memory = np.zeros(2 * 256 + 4 * N, np.uint8)
    start = -memory.ctypes.data % 256 + after
    y = memory[start : start + 4 * N].view(np.float32)
    code = HEAD + f"(float* y) {{ __shared__ float s[4]; s[0] = 1; y[{index}] = s[0]; }}".replace("N", str(N))
    (finding,) = only_kernel(code).launch(1, 1, (y,), mode="checked").findings
    assert place in finding.message


RELAYED = """(float* x, int* first, int* second, float* y) {
  const int block = blockIdx.x, i = threadIdx.x;
  if (block == 0 && i == 0) { x[0] = 1; __threadfence(); atomicExch(first, 1); }
  if (block == 1 && i == 0) { if (atomicAdd(first, 0)) __threadfence(); }
  if (block == 2) {
    if (i == 32) __threadfence();
    __syncthreads();
    if (i == 0 && %s) atomicExch(second, 1);
  }
  if (block == 3 && i == 0 && atomicAdd(second, 0)) y[0] = x[0];
}"""


@pytest.mark.parametrize(("condition", "kinds"), [("true", ["race"]), ("(atomicAdd(first, 0), __threadfence(), true)", [])])
def test_a_fence_of_another_block_is_not_passed_on(condition, kinds):
    code = HEAD + RELAYED % condition
    arguments = (zeros(1), zeros(1, np.int32), zeros(1, np.int32), zeros(1))
    done = only_kernel(code).launch(4, N, arguments, mode="checked")
    assert [finding.kind for finding in done.findings] == kinds


@pytest.mark.parametrize(("blocks", "thread"), [(1, 0), (2, 1)])
def test_a_write_is_compared_with_the_reads_of_all_lanes_at_one_place(blocks, thread):
    code = f"""(float* y) {{ __shared__ float s[1]; int i = threadIdx.x; y[i] = s[0];
      if (i == {thread} && blockIdx.x == {blocks - 1}) s[0] = 2; }}"""
    done = only_kernel(HEAD + code).launch(blocks, 32, (zeros(),), mode="checked")
    assert "shared memory" in " ".join(f.message for f in done.findings if f.kind == "race")


@pytest.mark.parametrize(("place", "kinds"), [(0, []), (1, ["missing_wait"])])
def test_waiting_for_all_groups_but_one_lands_the_first(place, kinds):
    copy = 'asm volatile("cp.async.ca.shared.global [%0], [%1], 4; cp.async.commit_group;" :: "r"(at + 4 * {0}), "l"(x + {0}));'
    code = f"""(const float* x, float* y) {{ __shared__ float s[2]; unsigned at = (unsigned)__cvta_generic_to_shared(s);
      {copy.format(0)} {copy.format(1)} asm volatile("cp.async.wait_group 1;"); y[0] = s[{place}]; }}"""
    done = only_kernel(HEAD + code).launch(1, 1, (np.ones(2, np.float32), zeros(1)), mode="checked")
    assert [f.kind for f in done.findings] == kinds


@pytest.mark.parametrize(("before", "kinds"), [(True, set()), (False, {"race"})])
def test_a_fence_covers_the_writes_before_it_and_none_after(before, kinds):
    write, fence = "y[0] = 1;", "__threadfence();"
    first, second = (write, fence) if before else (fence, write)
    code = f"""(float* y, int* flag) {{ if (blockIdx.x == 0) {{ {first} {second} atomicAdd(flag, 1); }}
      else if (atomicAdd(flag, 0)) y[1] = y[0]; }}"""
    done = only_kernel(HEAD + code).launch(2, 1, (zeros(2), np.zeros(1, np.int32)), mode="checked")
    assert {f.kind for f in done.findings} == kinds
