"""Query tile against key tile, with a running softmax: the T x T matrix of scores never exists.

Builds on: numba_rows, which reads all keys and values again for every single query.
Idea: a tile of 64 queries stands transposed, one query to a vector lane, so that scores come out with keys down and queries
    across: maximum, exponentials and sum of the running softmax are then plain vector operations without a sum across
    lanes. Both products keep a block of their result in registers; tiles above the diagonal are left out, and on it each
    block of rows ends at its last visible key.
Source: T. Dao et al., FlashAttention, arXiv:2205.14135; the running softmax is of M. Milakov and N. Gimelshein,
    arXiv:1805.02867.
Costs: keys and values of a head are copied once per call. Where a value is not finite, the second product runs element by
    element, since the tile would multiply a hidden infinity by 0.
"""

import math

import numpy as np
from numba import get_num_threads, prange

from kernels.attention.spec import ATTENTION
from kernels.simd import jit, parallel
from kernels.simd.gemm_intrinsics import LANES, transpose_columns
from kernels.simd.head_tile import LINE, copy_columns, round_up
from kernels.simd.math import exp, log
from kernels.simd.strided_tile import COLUMNS, ROWS, add_tile, prefetch, set_tile
from registry import register

TILE = 64  # queries, and keys
_LOWEST, _ZERO, _ONE, _NAN = np.float32(-np.inf), np.float32(0), np.float32(1), np.float32(np.nan)


@jit
def _transpose(rows, column, target, size):
    """Copy columns of at most TILE `rows` into `target`, transposed, with zeros in the lanes of absent rows."""
    count = rows.shape[0]
    whole = count // LANES * LANES
    deep = size // LANES * LANES
    for i in range(count):
        for d in range(0, size, LINE):
            prefetch(rows, i, column + size + d)
    for i in range(0, whole, LANES):
        for d in range(0, deep, LANES):
            source = rows[i:, column + d :]
            corner = target[d:, i:]
            transpose_columns(source.ctypes.data, source.strides[0], corner.ctypes.data, corner.strides[0])
    for d in range(size):
        for i in range(whole if d < deep else 0, count):
            target[d, i] = rows[i, column + d]
        target[d, count:] = _ZERO


@jit
def _score(scores, queries, keys, diagonal):
    """Set scores[key, query]; on the diagonal hide the keys that come after their query."""
    for j in range(0, keys.shape[0], ROWS):
        for i in range(j // COLUMNS * COLUMNS if diagonal else 0, TILE, COLUMNS):
            set_tile(scores[j : j + ROWS, i : i + COLUMNS], keys[j : j + ROWS], queries[:, i : i + COLUMNS])
    if diagonal:
        for j in range(keys.shape[0]):
            scores[j, j // COLUMNS * COLUMNS : j] = _LOWEST


@jit
def _soften(scores, scale, diagonal, top, total, shrink):
    """Turn scores into exponentials relative to the running maximum; set by how much what came before must shrink.

    The maximum is kept unscaled: of equal scores the difference is 0 to the bit, however large they are.
    A register of running values is loaded and stored once for several keys, since the compiler keeps it in memory.
    """
    for block in range(0, TILE, COLUMNS):
        lanes = slice(block, block + COLUMNS)
        t, s, f = top[lanes], total[lanes], shrink[lanes]
        seen = min(block + COLUMNS, scores.shape[0]) if diagonal else scores.shape[0]
        for i in range(COLUMNS):
            f[i] = t[i]
        for j in range(0, seen, 4):
            w, x, y, z = scores[j, lanes], scores[j + 1, lanes], scores[j + 2, lanes], scores[j + 3, lanes]
            for i in range(COLUMNS):
                t[i] = max(max(w[i], x[i], y[i], z[i]), t[i])
        for i in range(COLUMNS):
            new = t[i] if t[i] != _LOWEST else _ZERO
            f[i] = exp((f[i] - new) * scale) if f[i] != _LOWEST else _ZERO
            s[i] *= f[i]
        for j in range(0, seen, 2):
            x, y = scores[j, lanes], scores[j + 1, lanes]
            for i in range(COLUMNS):
                base = t[i] if t[i] != _LOWEST else _ZERO
                x[i] = exp((x[i] - base) * scale)
                y[i] = exp((y[i] - base) * scale)
                s[i] += x[i] + y[i]


@jit
def _weigh(output, scores, values, diagonal, finite):
    """Add the values, weighted by scores[key, query], to output[query, :]."""
    keys = scores.shape[0]
    if finite:
        for i in range(0, output.shape[0], ROWS):
            seen = min(i + ROWS, keys) if diagonal else keys
            for d in range(0, output.shape[1], COLUMNS):
                add_tile(output[i : i + ROWS, d : d + COLUMNS], scores[:seen, i : i + ROWS].T, values[:seen, d : d + COLUMNS])
    else:
        for i in range(output.shape[0]):
            for j in range(min(i + 1, keys) if diagonal else keys):
                for d in range(output.shape[1]):
                    output[i, d] += scores[j, i] * values[j, d]


@jit
def _head(rows, column, channels, size, y, lse, workspace):
    """Attend with one head of one sequence: its queries start at `column` of `rows`, its keys `channels` further."""
    time = rows.shape[0]
    padded, wide = round_up(time, TILE), round_up(size, COLUMNS)
    at, to = 0, padded * wide
    keys = workspace[at:to].reshape(padded, wide)
    at, to = to, to + padded * wide
    values = workspace[at:to].reshape(padded, wide)
    at, to = to, to + TILE * wide
    queries = workspace[at:to].reshape(wide, TILE)
    at, to = to, to + TILE * wide
    output = workspace[at:to].reshape(TILE, wide)
    at, to = to, to + TILE * TILE
    scores = workspace[at:to].reshape(TILE, TILE)
    top, total, shrink = (
        workspace[to : to + TILE],
        workspace[to + TILE : to + 2 * TILE],
        workspace[to + 2 * TILE : to + 3 * TILE],
    )

    copy_columns(rows, column + channels, keys, size)
    finite = copy_columns(rows, column + 2 * channels, values, size)
    scale = np.float32(1 / math.sqrt(size))
    for start in range(0, time, TILE):
        count = min(TILE, time - start)
        height = round_up(count, ROWS)
        _transpose(rows[start : start + count], column, queries, size)
        output[:] = _ZERO
        top[:] = _LOWEST
        total[:] = _ZERO
        for past in range(0, start + 1, TILE):
            diagonal = past == start
            seen = height if diagonal else TILE
            block = scores[:seen]
            _score(block, queries[:size], keys[past : past + seen, :size], diagonal)
            _soften(block, scale, diagonal, top, total, shrink)
            if past > 0:
                for i in range(height):
                    for d in range(wide):
                        output[i, d] *= shrink[i]
            _weigh(output[:height], block, values[past : past + seen], diagonal, finite)
        for i in range(count):
            factor = _ONE / total[i]
            for d in range(0, size, LINE):
                prefetch(y, start + i, column + size + d)
            for d in range(size):
                y[start + i, column + d] = output[i, d] * factor
        for i in range(count):
            lse[start + i] = top[i] * scale + log(total[i]) if total[i] > _ZERO else _NAN


@parallel
def _attention(qkv, y, lse, workspace):
    heads, slots = lse.shape[1], workspace.shape[0]
    tasks = lse.shape[0] * heads
    channels = y.shape[2]
    size = channels // heads
    for slot in prange(slots):
        for task in range(slot * tasks // slots, (slot + 1) * tasks // slots):
            b, h = task // heads, task % heads
            _head(qkv[b], h * size, channels, size, y[b], lse[b, h], workspace[slot])


def _slot(T, D):
    wide = -(-D // COLUMNS) * COLUMNS
    return 2 * -(-T // TILE) * TILE * wide + 2 * TILE * wide + TILE * (TILE + 3)


def _workspace(threads, B, T, H, D):  # noqa: ARG001 (all dims come)
    return threads * _slot(T, D)


@register(ATTENTION, workspace=_workspace, tiles={"T": (TILE, ROWS), "D": (COLUMNS, LANES)})
def numba_flash(qkv, y, lse, *, num_heads, workspace):
    slots = get_num_threads()
    slot = _slot(qkv.shape[1], y.shape[2] // num_heads)
    _attention(qkv, y, lse, workspace[: slots * slot].reshape(slots, slot))
