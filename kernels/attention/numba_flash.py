"""Attention in tiles of queries and keys with a running softmax: the T x T matrix of scores never exists.

Builds on: numba_rows, which reads all keys and values again for every single query.
Idea: a tile of 64 queries is transposed, one query to a vector lane, so that the rows of a score tile are keys and its columns
    are queries. Maximum, exponentials and sum of the running softmax are then vector operations without a sum across lanes.
    Both products keep a block of their result in registers. Tiles above the diagonal are left out, and on the diagonal each
    block of rows ends at its last visible key.
Source: T. Dao et al., FlashAttention, arXiv:2205.14135; the running softmax is of M. Milakov and N. Gimelshein,
    arXiv:1805.02867.
Costs: keys and values of a head are copied once per call. Where a value is not finite, the second product runs element by
    element, since the tile would multiply a hidden infinity by 0.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E, S = T rounded up to whole tiles,
    Q = queries of a tile, K = keys of a tile.
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

TILE = 64  # queries, and keys: a tile of scores is 16 KB, half of the first-level cache
_LOWEST, _ZERO, _ONE, _NAN = np.float32(-np.inf), np.float32(0), np.float32(1), np.float32(np.nan)


@jit
def _transpose(rows_QW, column, target_DQ, size):
    """Copy columns of at most TILE rows into `target_DQ`, transposed, with zeros in the lanes of absent rows."""
    count = rows_QW.shape[0]
    whole = count // LANES * LANES
    deep = size // LANES * LANES
    for i in range(count):
        for d in range(0, size, LINE):
            prefetch(rows_QW, i, column + size + d)
    for i in range(0, whole, LANES):
        for d in range(0, deep, LANES):
            source = rows_QW[i:, column + d :]
            corner = target_DQ[d:, i:]
            transpose_columns(source.ctypes.data, source.strides[0], corner.ctypes.data, corner.strides[0])
    for d in range(size):
        for i in range(whole if d < deep else 0, count):
            target_DQ[d, i] = rows_QW[i, column + d]
        target_DQ[d, count:] = _ZERO


@jit
def _score(scores_KQ, queries_DQ, keys_KD, diagonal):
    """Set `scores_KQ`; on the diagonal hide the keys that come after their query."""
    for j in range(0, keys_KD.shape[0], ROWS):
        for i in range(j // COLUMNS * COLUMNS if diagonal else 0, TILE, COLUMNS):
            set_tile(scores_KQ[j : j + ROWS, i : i + COLUMNS], keys_KD[j : j + ROWS], queries_DQ[:, i : i + COLUMNS])
    if diagonal:
        for j in range(keys_KD.shape[0]):
            scores_KQ[j, j // COLUMNS * COLUMNS : j] = _LOWEST


@jit
def _update_softmax(scores_KQ, scale, diagonal, row_max_Q, row_sum_Q, rescale_Q):
    """Turn scores into exponentials relative to the running maximum of each query; set the factor of its earlier sums.

    The maximum is kept unscaled: the difference of equal scores is 0 to the bit, however large they are.
    A register of running values is loaded and stored once for several keys, since the compiler keeps it in memory.
    """
    for block in range(0, TILE, COLUMNS):
        lanes = slice(block, block + COLUMNS)
        row_max, row_sum, rescale = row_max_Q[lanes], row_sum_Q[lanes], rescale_Q[lanes]
        seen = min(block + COLUMNS, scores_KQ.shape[0]) if diagonal else scores_KQ.shape[0]
        for i in range(COLUMNS):
            rescale[i] = row_max[i]
        for j in range(0, seen, 4):
            w, x, y, z = scores_KQ[j, lanes], scores_KQ[j + 1, lanes], scores_KQ[j + 2, lanes], scores_KQ[j + 3, lanes]
            for i in range(COLUMNS):
                row_max[i] = max(max(w[i], x[i], y[i], z[i]), row_max[i])
        for i in range(COLUMNS):
            new = row_max[i] if row_max[i] != _LOWEST else _ZERO
            rescale[i] = exp((rescale[i] - new) * scale) if rescale[i] != _LOWEST else _ZERO
            row_sum[i] *= rescale[i]
        for j in range(0, seen, 2):
            x, y = scores_KQ[j, lanes], scores_KQ[j + 1, lanes]
            for i in range(COLUMNS):
                base = row_max[i] if row_max[i] != _LOWEST else _ZERO
                x[i] = exp((x[i] - base) * scale)
                y[i] = exp((y[i] - base) * scale)
                row_sum[i] += x[i] + y[i]


@jit
def _weigh(output_QD, scores_KQ, values_KD, diagonal, finite):
    """Add the values, weighted by the scores, to `output_QD`."""
    keys = scores_KQ.shape[0]
    if finite:
        for i in range(0, output_QD.shape[0], ROWS):
            seen = min(i + ROWS, keys) if diagonal else keys
            for d in range(0, output_QD.shape[1], COLUMNS):
                add_tile(
                    output_QD[i : i + ROWS, d : d + COLUMNS],
                    scores_KQ[:seen, i : i + ROWS].T,
                    values_KD[:seen, d : d + COLUMNS],
                )
    else:
        for i in range(output_QD.shape[0]):
            for j in range(min(i + 1, keys) if diagonal else keys):
                for d in range(output_QD.shape[1]):
                    output_QD[i, d] += scores_KQ[j, i] * values_KD[j, d]


@jit
def _head(rows_TW, column, channels, size, y_TE, lse_T, workspace):
    """Attend with one head of one sequence: its queries start at `column` of `rows_TW`, its keys `channels` further."""
    time = rows_TW.shape[0]
    padded, width = round_up(time, TILE), round_up(size, COLUMNS)
    at, to = 0, padded * width
    keys_SD = workspace[at:to].reshape(padded, width)
    at, to = to, to + padded * width
    values_SD = workspace[at:to].reshape(padded, width)
    at, to = to, to + TILE * width
    queries_DQ = workspace[at:to].reshape(width, TILE)
    at, to = to, to + TILE * width
    output_QD = workspace[at:to].reshape(TILE, width)
    at, to = to, to + TILE * TILE
    scores_KQ = workspace[at:to].reshape(TILE, TILE)
    row_max_Q, row_sum_Q, rescale_Q = (
        workspace[to : to + TILE],
        workspace[to + TILE : to + 2 * TILE],
        workspace[to + 2 * TILE : to + 3 * TILE],
    )

    copy_columns(rows_TW, column + channels, keys_SD, size)
    finite = copy_columns(rows_TW, column + 2 * channels, values_SD, size)
    scale = np.float32(1 / math.sqrt(size))
    for start in range(0, time, TILE):
        count = min(TILE, time - start)
        height = round_up(count, ROWS)
        _transpose(rows_TW[start : start + count], column, queries_DQ, size)
        output_QD[:] = _ZERO
        row_max_Q[:] = _LOWEST
        row_sum_Q[:] = _ZERO
        for past in range(0, start + 1, TILE):
            diagonal = past == start
            seen = height if diagonal else TILE
            block_KQ = scores_KQ[:seen]
            _score(block_KQ, queries_DQ[:size], keys_SD[past : past + seen, :size], diagonal)
            _update_softmax(block_KQ, scale, diagonal, row_max_Q, row_sum_Q, rescale_Q)
            if past > 0:
                for i in range(height):
                    for d in range(width):
                        output_QD[i, d] *= rescale_Q[i]
            _weigh(output_QD[:height], block_KQ, values_SD[past : past + seen], diagonal, finite)
        for i in range(count):
            factor = _ONE / row_sum_Q[i]
            for d in range(0, size, LINE):
                prefetch(y_TE, start + i, column + size + d)
            for d in range(size):
                y_TE[start + i, column + d] = output_QD[i, d] * factor
        for i in range(count):
            lse_T[start + i] = row_max_Q[i] * scale + log(row_sum_Q[i]) if row_sum_Q[i] > _ZERO else _NAN


@parallel
def _attention(qkv_BTW, y_BTE, lse_BHT, workspace):
    heads, slots = lse_BHT.shape[1], workspace.shape[0]
    tasks = lse_BHT.shape[0] * heads
    channels = y_BTE.shape[2]
    size = channels // heads
    for slot in prange(slots):
        for task in range(slot * tasks // slots, (slot + 1) * tasks // slots):
            b, h = task // heads, task % heads
            _head(qkv_BTW[b], h * size, channels, size, y_BTE[b], lse_BHT[b, h], workspace[slot])


def _slot(T, D):
    width = -(-D // COLUMNS) * COLUMNS
    return 2 * -(-T // TILE) * TILE * width + 2 * TILE * width + TILE * (TILE + 3)


def _workspace(threads, B, T, H, D):  # noqa: ARG001 (all dims come)
    return threads * _slot(T, D)


@register(ATTENTION, workspace=_workspace, tiles={"T": (TILE, ROWS), "D": (COLUMNS, LANES)})
def numba_flash(qkv, y, lse, *, num_heads, workspace):
    slots = get_num_threads()
    slot = _slot(qkv.shape[1], y.shape[2] // num_heads)
    _attention(qkv, y, lse, workspace[: slots * slot].reshape(slots, slot))
