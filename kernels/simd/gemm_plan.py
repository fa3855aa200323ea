"""How a packed matrix product is cut into blocks, and where its scratch memory goes.

The side with fewer rows or columns is packed once by all threads and shared. The other is cut into chunks; a thread takes
a chunk, packs it for itself and multiplies it with all that is shared. Depth is cut into blocks, so that a chunk's panel
stays in the second-level cache while the shared panels stream past it.

Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, ACM TOMS 34 (2008), 12:1-12:25.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from kernels.simd.gemm_intrinsics import COLUMNS, ROWS, UNROLL

__all__ = ["COUNTERS", "JOB", "LINE", "Blocks", "Plan", "make_plan"]

LINE = 64  # bytes of a cache line: scratch memory is aligned to it, shared counters are that far apart
JOB = 34  # numbers that describe a product to its threads: the plan, both sides, the target, depth and scratch memory
COUNTERS = 4  # a stage counts shared panels taken and packed, chunks taken and done


class Blocks(NamedTuple):
    """The wanted block sizes: depth of a panel, depth and extent of the shared side at a time, extent of a chunk."""

    depth: int = 1024
    shared_depth: int = 3072
    shared: int = 1024
    chunk: int = 192


DEFAULT = Blocks()


class Plan(NamedTuple):
    """The blocks of one product, and byte offsets into its scratch memory.

    Attributes
    ----------
    threads : int
        How many share the work.
    left_is_shared : int
        1 if the rows of the result are shared out as panels and its columns as chunks, 0 the other way round.
    depth, shared_depth, shared, chunk, chunks : int
        Block sizes; `shared_depth` is a multiple of `depth`.
    stages : int
        How often the shared panels are filled.
    counters, zeros, tiles, panels, chunk_panels, chunk_bytes : int
        Offsets of the counters, a row of zeros, each thread's tile for ragged edges, the shared panels, each thread's chunk,
        and its size; the table of the job is in front.
    size : int
        Bytes in all, a line for alignment included.
    """

    threads: int
    left_is_shared: int
    depth: int
    shared_depth: int
    shared: int
    chunk: int
    chunks: int
    stages: int
    counters: int
    zeros: int
    tiles: int
    panels: int
    chunk_panels: int
    chunk_bytes: int
    size: int


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def _blocks_of(value: int, unit: int) -> int:
    return max(1, -(-value // unit))


@cache
def make_plan(threads: int, rows: int, columns: int, depth: int, blocks: Blocks = DEFAULT) -> Plan:
    """Cut a product of rows x depth by depth x columns into blocks for a number of threads."""
    left_is_shared = rows <= columns
    shared_size, chunk_size = (rows, columns) if left_is_shared else (columns, rows)
    shared_width, chunk_width = (ROWS, COLUMNS) if left_is_shared else (COLUMNS, ROWS)

    block = _up(_blocks_of(depth, _blocks_of(depth, blocks.depth)), UNROLL)
    shared_depth = min(max(blocks.shared_depth // block, 1), _blocks_of(depth, block)) * block
    shared = _up(_blocks_of(shared_size, _blocks_of(shared_size, blocks.shared)), shared_width)
    rounds = max(1, round(chunk_size / (threads * blocks.chunk)))
    chunk = _up(_blocks_of(chunk_size, threads * rounds), chunk_width)
    stages = _blocks_of(depth, shared_depth) * _blocks_of(shared_size, shared)

    counters = _up(8 * JOB, LINE)
    zeros = counters + stages * COUNTERS * LINE
    tiles = zeros + _up(4 * COLUMNS, LINE)
    panels = tiles + threads * _up(4 * ROWS * COLUMNS, LINE)
    chunk_panels = panels + _up(4 * shared * shared_depth, LINE)
    chunk_bytes = _up(4 * chunk * block, LINE)
    return Plan(
        threads=threads,
        left_is_shared=int(left_is_shared),
        depth=block,
        shared_depth=shared_depth,
        shared=shared,
        chunk=chunk,
        chunks=_blocks_of(chunk_size, chunk),
        stages=stages,
        counters=counters,
        zeros=zeros,
        tiles=tiles,
        panels=panels,
        chunk_panels=chunk_panels,
        chunk_bytes=chunk_bytes,
        size=chunk_panels + threads * chunk_bytes + LINE,
    )
