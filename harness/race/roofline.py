"""The roofline of this machine, by measurement: the multiply-add peak, and the bandwidth by the size of the data.

A race rejects a time below three quarters of the roofline, since measured peaks vary. The roofline assumes that the caches are
full of the call's data: the bytes up to a size are counted at the best bandwidth measured at that size, the bytes beyond it at
the bandwidth of the next size. Therefore a call whose data fits in a cache is compared with that cache, and a larger call with
the memory as well.

Source: S. Williams, A. Waterman, D. Patterson, Communications of the ACM 52 (2009), doi:10.1145/1498765.1498785.
"""

from __future__ import annotations

from functools import cache
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import prange, types
from numba.extending import intrinsic

from registry.devices import Cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["bandwidth_sizes", "cold_over_warm", "floor_ms", "is_impossible", "is_plausible", "measure", "merged", "sweep"]

FASTMATH = {"reassoc", "contract", "nsz"}
SIZES = tuple(1 << k for k in range(14, 29, 2))
REPEATS = 7
SPAN_NS = 4e6
ACCUMULATORS = 12
KEY = "gb_s@"
LEAST_OF_BEST = 0.5  # a measurement below this share of the best on record is not plausible
TRUSTED = 0.75  # times from this share of the floor on are accepted: a virtual machine's bandwidth varied by a quarter


def _lanes() -> int:
    features = binding.get_host_cpu_features()
    return next((lanes for feature, lanes in (("avx512f", 16), ("avx2", 8)) if features.get(feature)), 4)


LANES = _lanes()


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def _multiply_adds(typing_context: Any, rounds: Any) -> Any:  # noqa: ANN401 (numba's own types)
    """Repeat `rounds` times: one multiply-add on each of the vector accumulators, which stay in registers."""
    del typing_context, rounds

    def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:  # noqa: ANN401 (numba's own types)
        del context, signature
        vector = ir.VectorType(ir.FloatType(), LANES)
        name = f"llvm.fma.v{LANES}f32"
        multiply_add = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(vector, [vector] * 3), name
        )
        factor = ir.Constant(vector, [ir.Constant(ir.FloatType(), 0.5)] * LANES)
        addend = ir.Constant(vector, [ir.Constant(ir.FloatType(), 1.0)] * LANES)
        before = builder.block
        loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        count = builder.phi(ir.IntType(64))
        sums = [builder.phi(vector) for _ in range(ACCUMULATORS)]
        results = [builder.call(multiply_add, [total, factor, addend]) for total in sums]
        following = builder.add(count, ir.Constant(ir.IntType(64), 1))
        count.add_incoming(ir.Constant(ir.IntType(64), 0), before)
        count.add_incoming(following, loop)
        for number, (total, result) in enumerate(zip(sums, results, strict=True)):
            total.add_incoming(ir.Constant(vector, [ir.Constant(ir.FloatType(), float(number))] * LANES), before)
            total.add_incoming(result, loop)
        builder.cbranch(builder.icmp_signed("<", following, arguments[0]), loop, after)
        builder.position_at_end(after)
        whole = results[0]
        for result in results[1:]:
            whole = builder.fadd(whole, result)
        return builder.extract_element(whole, ir.Constant(ir.IntType(32), 0))

    return types.float32(types.int64), build


@numba.njit(parallel=True, error_model="numpy")  # type: ignore[untyped-decorator]  # numba has no types
def _peak(rounds: int, out: Any) -> None:  # noqa: ANN401 (compiled)
    for thread in prange(out.size):
        out[thread] = _multiply_adds(rounds)


@numba.njit(parallel=True, fastmath=FASTMATH, error_model="numpy")  # type: ignore[untyped-decorator]  # numba has no types
def _read(chunks: Any, out: Any, times: int) -> None:  # noqa: ANN401 (compiled)
    for thread in prange(chunks.shape[0]):
        chunk = chunks[thread]
        for _ in range(times):
            total = out[thread]
            for i in range(chunk.size):
                total += chunk[i]
            out[thread] = total


@numba.njit(parallel=True, error_model="numpy")  # type: ignore[untyped-decorator]  # numba has no types
def _copy(source: Any, target: Any, times: int) -> None:  # noqa: ANN401 (compiled)
    for thread in prange(source.shape[0]):
        for _ in range(times):
            target[thread][:] = source[thread]


@numba.njit(parallel=True, fastmath=FASTMATH, error_model="numpy")  # type: ignore[untyped-decorator]  # numba has no types
def _scale(source: Any, target: Any, times: int) -> None:  # noqa: ANN401 (compiled)
    for thread in prange(source.shape[0]):
        for _ in range(times):
            for i in range(source.shape[1]):
                target[thread, i] = source[thread, i] * np.float32(0.5)


@numba.njit(parallel=True, fastmath=FASTMATH, error_model="numpy")  # type: ignore[untyped-decorator]  # numba has no types
def _update(values: Any, times: int) -> None:  # noqa: ANN401 (compiled)
    for thread in prange(values.shape[0]):
        for _ in range(times):
            quarter = values.shape[1] // 4
            a, b = values[thread, :quarter], values[thread, quarter : 2 * quarter]
            c, d = values[thread, 2 * quarter : 3 * quarter], values[thread, 3 * quarter : 4 * quarter]
            for i in range(quarter):
                a[i], b[i], c[i], d[i] = -a[i], -b[i], -c[i], -d[i]


def _best(run: Callable[[int], None]) -> float:
    """Return the shortest time in nanoseconds of one repetition inside `run`."""
    run(1)
    times, elapsed = 1, 0.0
    while elapsed < SPAN_NS / 2:
        start = perf_counter_ns()
        run(times)
        elapsed = perf_counter_ns() - start
        if elapsed < SPAN_NS / 2:
            times = max(2 * times, min(int(times * SPAN_NS / max(elapsed, 1)), 64 * times))
    shortest = elapsed / times
    for _ in range(REPEATS):
        start = perf_counter_ns()
        run(times)
        shortest = min(shortest, (perf_counter_ns() - start) / times)
    return shortest


def _bandwidth(size: int, threads: int) -> float:
    """Return the best bandwidth of reading, copying, scaling and updating `size` bytes in total, in GB/s.

    The update works on four parts at once, as AdamW does on its arrays. It fetches no cache line only to overwrite it, and has
    more reads in flight than a single stream: on a Xeon it reached 45 GB/s, a copy 25 GB/s.
    """
    whole = Cpu().empty((threads, max(size // 4 // threads, 16)), np.dtype(np.float32))
    whole.fill(1.0)
    half = whole.shape[1] // 2
    source, target = whole[:, :half], whole[:, half : 2 * half]
    out = np.zeros(threads, np.float32)
    return whole.nbytes / min(
        _best(lambda times: _read(whole, out, times)),
        _best(lambda times: _copy(source, target, times)),
        _best(lambda times: _scale(source, target, times)),
        _best(lambda times: _update(source, times)),
    )


def measure(threads: int) -> dict[str, float]:
    """Return the peaks of `threads` threads: ``gflops``, and ``gb_s@BYTES`` by size."""
    out = np.zeros(threads, np.float32)
    peak = 2 * ACCUMULATORS * LANES * threads / _best(lambda times: _peak(1000 * times, out)) * 1000
    return {"gflops": peak, **{f"{KEY}{size}": _bandwidth(size, threads) for size in SIZES}}


def merged(*measured: Mapping[str, float]) -> dict[str, float]:
    """Return the best of several measurements: other processes on the machine can only lower a measurement."""
    return {key: max(m[key] for m in measured if key in m) for key in measured[0]}


def is_plausible(roof: Mapping[str, float], earlier: Sequence[Mapping[str, float]]) -> bool:
    """Whether no peak is below half of the best that was measured earlier."""
    best = {key: max((m[key] for m in earlier if key in m), default=0.0) for key in roof}
    return all(roof[key] >= LEAST_OF_BEST * best[key] for key in roof)


def bandwidth_sizes(roof: Mapping[str, float]) -> list[tuple[int, float]]:
    """Return (size, bandwidth) pairs by rising size; the bandwidth of a size is at least the bandwidth of a larger size."""
    measured = sorted((int(key.removeprefix(KEY)), value) for key, value in roof.items() if key.startswith(KEY))
    best, pairs = 0.0, []
    for size, value in reversed(measured):
        best = max(best, value)
        pairs.append((size, best))
    return pairs[::-1]


def is_impossible(milliseconds: float, floor: float) -> bool:
    """Return whether a median time is below `TRUSTED` times the floor."""
    return milliseconds < TRUSTED * floor


def floor_ms(roof: Mapping[str, float], flops: float, moved: float) -> float:
    """Return the least possible milliseconds of a call that does `flops` operations and moves `moved` bytes."""
    pairs = bandwidth_sizes(roof)
    edges = [0, *(size for size, _ in pairs[1:]), float("inf")]
    memory_ns = sum(
        (min(moved, edges[i + 1]) - edges[i]) / bandwidth for i, (_, bandwidth) in enumerate(pairs) if moved > edges[i]
    )
    return max(flops / roof["gflops"], memory_ns) / 1e6


@cache
def _sweep_buffers(cache_bytes: int, threads: int) -> list[Any]:
    return [np.ones((threads, 2 * cache_bytes // 4 // threads), np.float32), np.zeros(threads, np.float32)]


def sweep(cache_bytes: int, threads: int) -> None:
    """Read twice `cache_bytes`, each thread an equal part, so that the caches hold nothing else."""
    buffer, out = _sweep_buffers(cache_bytes, threads)
    _read(buffer, out, 1)


@cache
def _probe_buffers(cache_bytes: int, size: int) -> list[Any]:
    return [np.ones((1, size // 4), np.float32) for _ in range(max(2 * cache_bytes // size, 2))]


def cold_over_warm(cache_bytes: int, size: int = 1 << 18) -> float:
    """Return the time of reading a buffer after twice `cache_bytes` of other memory, over the time of reading it again."""
    buffers = _probe_buffers(cache_bytes, size)
    out = np.zeros(1, np.float32)
    cold: list[int] = []
    warm: list[int] = []
    for _ in range(2):
        for buffer in buffers:
            for times in (cold, warm):
                start = perf_counter_ns()
                _read(buffer, out, 1)
                times.append(perf_counter_ns() - start)
    half = len(cold) // 2
    return float(np.median(cold[half:]) / np.median(warm[half:]))
