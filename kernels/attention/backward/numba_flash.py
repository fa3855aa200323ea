"""Query tile against key tile: probabilities made again from the log-sum-exp, five products of register tiles.

Builds on: numba_rows, which takes one pair of query and key at a time.
Idea: with queries across the lanes (they and their dy stand transposed), scores and dp come out with keys down; p and ds
    then replace them lane by lane. As they lie they are the left side of the gradients of keys and values, and transposed,
    which the tile takes for nothing, that of the queries' gradient. A head of one sequence belongs to one thread, which
    makes the sums in one order.
Source: T. Dao et al., FlashAttention, arXiv:2205.14135, appendix B.2.
Costs: the tiles of a head are copied once per call. Where a value is not finite, the three sums run element by element,
    since the tile would multiply a hidden infinity by 0.
"""

import math

import numpy as np
from numba import get_num_threads, prange

from kernels.attention.spec import ATTENTION_BACKWARD
from kernels.simd import jit, parallel
from kernels.simd.gemm_intrinsics import LANES, transpose_columns
from kernels.simd.head_tile import LINE, copy_columns, round_up
from kernels.simd.math import exp
from kernels.simd.strided_tile import COLUMNS, ROWS, add_tile, prefetch, set_tile
from registry import register

TILE = 64  # queries, and keys
_ZERO = np.float32(0)


@jit
def _transpose(source, target):
    """Set target to source.T, both of whole registers."""
    for i in range(0, source.shape[0], LANES):
        for d in range(0, source.shape[1], LANES):
            block, corner = source[i:, d:], target[d:, i:]
            transpose_columns(block.ctypes.data, block.strides[0], corner.ctypes.data, corner.strides[0])


@jit
def _dot(x, y):
    total = np.float32(0)
    for d in range(y.size):
        total += x[d] * y[d]
    return total


@jit
def _score(scores, queries, keys, diagonal):
    """Set scores[key, query] where, on the diagonal, the query's block does not end before the key's."""
    for j in range(0, keys.shape[0], ROWS):
        for i in range(j // COLUMNS * COLUMNS if diagonal else 0, TILE, COLUMNS):
            set_tile(scores[j : j + ROWS, i : i + COLUMNS], keys[j : j + ROWS], queries[:, i : i + COLUMNS])


@jit
def _differentiate(p, ds, scale, lse, along, diagonal):
    """Turn scores and dp into p and ds, in place; on the diagonal both are 0 where the key comes after the query."""
    for j in range(p.shape[0]):
        for i in range(TILE):
            e = exp(p[j, i] * scale - lse[i])
            ds[j, i] = e * (ds[j, i] - along[i]) * scale
            p[j, i] = e
        if diagonal:
            p[j, :j] = _ZERO
            ds[j, :j] = _ZERO


@jit
def _add_past(gradient, ds, keys, diagonal):
    """Add to each query's gradient its keys, weighted by ds[key, query]."""
    for i in range(0, gradient.shape[0], ROWS):
        seen = min(i + ROWS, keys.shape[0]) if diagonal else keys.shape[0]
        for d in range(0, gradient.shape[1], COLUMNS):
            add_tile(gradient[i : i + ROWS, d : d + COLUMNS], ds[:seen, i : i + ROWS].T, keys[:seen, d : d + COLUMNS])


@jit
def _add_future(gradient, weights, queries, diagonal):
    """Add to each key's gradient the rows of those queries that see it, weighted by weights[key, query]."""
    for j in range(0, gradient.shape[0], ROWS):
        first = j if diagonal else 0
        for d in range(0, gradient.shape[1], COLUMNS):
            add_tile(gradient[j : j + ROWS, d : d + COLUMNS], weights[j : j + ROWS, first:], queries[first:, d : d + COLUMNS])


@jit
def _add_visible(dquery, dkey, dvalue, p, ds, query, key, dy, diagonal):
    """Add all three, one visible pair after the other."""
    for j in range(dkey.shape[0]):
        for i in range(j if diagonal else 0, dquery.shape[0]):
            for d in range(dquery.shape[1]):
                dquery[i, d] += ds[j, i] * key[j, d]
                dkey[j, d] += ds[j, i] * query[i, d]
                dvalue[j, d] += p[j, i] * dy[i, d]


@jit
def _write(tile, rows, column, size):
    for i in range(rows.shape[0]):
        for d in range(0, size, LINE):
            prefetch(rows, i, column + size + d)
        for d in range(size):
            rows[i, column + d] = tile[i, d]


@jit
def _head(dy, rows, y, lse, gradient, column, size, long, short, square):
    """Differentiate one head of one sequence: its queries start at `column` of `rows`."""
    time, channels = y.shape
    key, value, dkey, dvalue = long[0], long[1], long[2], long[3]
    query, dquery, dout = short[0], short[1], short[2]
    across, dacross = short[3].reshape(short.shape[2], TILE), short[4].reshape(short.shape[2], TILE)
    p, ds, known, along = square[0], square[1], square[2, 0], square[2, 1]
    scale = np.float32(1 / math.sqrt(size))

    finite = copy_columns(rows, column + channels, key, size)
    finite &= copy_columns(rows, column + 2 * channels, value, size)
    dkey[:] = _ZERO
    dvalue[:] = _ZERO
    for start in range(0, time, TILE):
        count = min(TILE, time - start)
        height = round_up(count, ROWS)
        stop = start + count
        tame = copy_columns(rows[start:stop], column, query, size) & copy_columns(dy[start:stop], column, dout, size) & finite
        _transpose(query, across)
        _transpose(dout, dacross)
        known[:] = _ZERO
        along[:] = _ZERO
        for i in range(count):
            known[i] = lse[start + i]
            along[i] = _dot(dout[i], y[start + i, column : column + size])
        dquery[:] = _ZERO
        for past in range(0, start + 1, TILE):
            diagonal = past == start
            seen = height if diagonal else TILE
            block = slice(past, past + seen)
            _score(p[:seen], across[:size], key[block, :size], diagonal)
            _score(ds[:seen], dacross[:size], value[block, :size], diagonal)
            _differentiate(p[:seen], ds[:seen], scale, known, along, diagonal)
            if tame:
                _add_past(dquery[:height], ds, key[block], diagonal)
                _add_future(dkey[block], ds[:seen, :height], query[:height], diagonal)
                _add_future(dvalue[block], p[:seen, :height], dout[:height], diagonal)
            else:
                _add_visible(dquery[:height], dkey[block], dvalue[block], p, ds, query, key[block], dout, diagonal)
        _write(dquery, gradient[start:stop], column, size)
    _write(dkey, gradient, column + channels, size)
    _write(dvalue, gradient, column + 2 * channels, size)


@parallel
def _attention_backward(dy, qkv, y, lse, dqkv, workspace, size):
    batch, heads, time = lse.shape
    slots, tasks = workspace.shape[0], batch * heads
    padded, wide = round_up(time, TILE), round_up(size, COLUMNS)
    for slot in prange(slots):
        at, to = 4 * padded * wide, 4 * padded * wide + 5 * TILE * wide
        long = workspace[slot, :at].reshape(4, padded, wide)
        short = workspace[slot, at:to].reshape(5, TILE, wide)
        square = workspace[slot, to : to + 3 * TILE * TILE].reshape(3, TILE, TILE)
        for task in range(slot * tasks // slots, (slot + 1) * tasks // slots):
            b, h = task // heads, task % heads
            _head(dy[b], qkv[b], y[b], lse[b, h], dqkv[b], h * size, size, long, short, square)


def _slot(T, D):
    wide = -(-D // COLUMNS) * COLUMNS
    return 4 * -(-T // TILE) * TILE * wide + 5 * TILE * wide + 3 * TILE * TILE


def _workspace(threads, B, T, H, D):  # noqa: ARG001 (all dims come)
    return threads * _slot(T, D)


@register(ATTENTION_BACKWARD, workspace=_workspace, tiles={"T": (TILE, ROWS), "D": (COLUMNS, LANES)})
def numba_flash(dy, qkv, y, lse, dqkv, *, num_heads, workspace):
    slots, size = get_num_threads(), y.shape[2] // num_heads
    slot = _slot(qkv.shape[1], size)
    _attention_backward(dy, qkv, y, lse, dqkv, workspace[: slots * slot].reshape(slots, slot), size)
