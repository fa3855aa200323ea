"""Attention backward in tiles of queries and keys: probabilities from the log-sum-exp, and five products of register tiles.

Builds on: numba_rows, which takes one pair of query and key at a time.
Idea: queries and dy are transposed, one query to a vector lane, so that the rows of scores and dp are keys; p and ds then
    replace them lane by lane. As they are stored, they are the left side of the gradients of keys and values. Their transpose,
    which costs nothing in a register tile, is the left side of the gradient of queries. A head of one sequence belongs to one
    thread, which adds in one order.
Source: T. Dao et al., FlashAttention, arXiv:2205.14135, appendix B.2.
Costs: the tiles of a head are copied once per call. Where a value is not finite, the three sums run element by element,
    since the tile would multiply a hidden infinity by 0.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E, S = T rounded up to whole tiles,
    Q = queries of a tile, K = keys of a tile, R = rows to write.
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

TILE = 64  # queries, and keys: a tile of scores is 16 KB, half of the first-level cache
_ZERO = np.float32(0)


@jit
def _transpose(source_QD, target_DQ):
    """Set `target_DQ` to the transpose of `source_QD`, both of whole registers."""
    for i in range(0, source_QD.shape[0], LANES):
        for d in range(0, source_QD.shape[1], LANES):
            block, corner = source_QD[i:, d:], target_DQ[d:, i:]
            transpose_columns(block.ctypes.data, block.strides[0], corner.ctypes.data, corner.strides[0])


@jit
def _dot(x_D, y_D):
    total = np.float32(0)
    for d in range(y_D.size):
        total += x_D[d] * y_D[d]
    return total


@jit
def _score(scores_KQ, queries_DQ, keys_KD, diagonal):
    """Set `scores_KQ` where, on the diagonal, the query's block does not end before the key's."""
    for j in range(0, keys_KD.shape[0], ROWS):
        for i in range(j // COLUMNS * COLUMNS if diagonal else 0, TILE, COLUMNS):
            set_tile(scores_KQ[j : j + ROWS, i : i + COLUMNS], keys_KD[j : j + ROWS], queries_DQ[:, i : i + COLUMNS])


@jit
def _differentiate(p_KQ, ds_KQ, scale, lse_Q, along_Q, diagonal):
    """Turn scores and dp into p and ds, in place; on the diagonal both are 0 where the key comes after the query."""
    for j in range(p_KQ.shape[0]):
        for i in range(TILE):
            e = exp(p_KQ[j, i] * scale - lse_Q[i])
            ds_KQ[j, i] = e * (ds_KQ[j, i] - along_Q[i]) * scale
            p_KQ[j, i] = e
        if diagonal:
            p_KQ[j, :j] = _ZERO
            ds_KQ[j, :j] = _ZERO


@jit
def _add_past(gradient_QD, ds_KQ, keys_KD, diagonal):
    """Add to each query's gradient its keys, weighted by `ds_KQ`."""
    for i in range(0, gradient_QD.shape[0], ROWS):
        seen = min(i + ROWS, keys_KD.shape[0]) if diagonal else keys_KD.shape[0]
        for d in range(0, gradient_QD.shape[1], COLUMNS):
            add_tile(gradient_QD[i : i + ROWS, d : d + COLUMNS], ds_KQ[:seen, i : i + ROWS].T, keys_KD[:seen, d : d + COLUMNS])


@jit
def _add_future(gradient_KD, weights_KQ, queries_QD, diagonal):
    """Add to each key's gradient the rows of the queries that see it, weighted by `weights_KQ`."""
    for j in range(0, gradient_KD.shape[0], ROWS):
        first = j if diagonal else 0
        for d in range(0, gradient_KD.shape[1], COLUMNS):
            add_tile(
                gradient_KD[j : j + ROWS, d : d + COLUMNS],
                weights_KQ[j : j + ROWS, first:],
                queries_QD[first:, d : d + COLUMNS],
            )


@jit
def _add_visible(dquery_QD, dkey_KD, dvalue_KD, p_KQ, ds_KQ, query_QD, key_KD, dy_QD, diagonal):
    """Add to all three gradients, one visible pair after the other."""
    for j in range(dkey_KD.shape[0]):
        for i in range(j if diagonal else 0, dquery_QD.shape[0]):
            for d in range(dquery_QD.shape[1]):
                dquery_QD[i, d] += ds_KQ[j, i] * key_KD[j, d]
                dkey_KD[j, d] += ds_KQ[j, i] * query_QD[i, d]
                dvalue_KD[j, d] += p_KQ[j, i] * dy_QD[i, d]


@jit
def _write(rows_RD, target_RW, column, size):
    for i in range(target_RW.shape[0]):
        for d in range(0, size, LINE):
            prefetch(target_RW, i, column + size + d)
        for d in range(size):
            target_RW[i, column + d] = rows_RD[i, d]


@jit
def _head(dy_TE, rows_TW, y_TE, lse_T, gradient_TW, column, size, long_4SD, short_5QD, square_3KQ):
    """Differentiate one head of one sequence: its queries start at `column` of `rows_TW`."""
    time, channels = y_TE.shape
    key_SD, value_SD, dkey_SD, dvalue_SD = long_4SD[0], long_4SD[1], long_4SD[2], long_4SD[3]
    query_QD, dquery_QD, dout_QD = short_5QD[0], short_5QD[1], short_5QD[2]
    queries_DQ, dout_DQ = short_5QD[3].reshape(short_5QD.shape[2], TILE), short_5QD[4].reshape(short_5QD.shape[2], TILE)
    p_KQ, ds_KQ, lse_Q, along_Q = square_3KQ[0], square_3KQ[1], square_3KQ[2, 0], square_3KQ[2, 1]
    scale = np.float32(1 / math.sqrt(size))

    finite = copy_columns(rows_TW, column + channels, key_SD, size)
    finite &= copy_columns(rows_TW, column + 2 * channels, value_SD, size)
    dkey_SD[:] = _ZERO
    dvalue_SD[:] = _ZERO
    for start in range(0, time, TILE):
        count = min(TILE, time - start)
        height = round_up(count, ROWS)
        stop = start + count
        tame = (
            copy_columns(rows_TW[start:stop], column, query_QD, size)
            & copy_columns(dy_TE[start:stop], column, dout_QD, size)
            & finite
        )
        _transpose(query_QD, queries_DQ)
        _transpose(dout_QD, dout_DQ)
        lse_Q[:] = _ZERO
        along_Q[:] = _ZERO
        for i in range(count):
            lse_Q[i] = lse_T[start + i]
            along_Q[i] = _dot(dout_QD[i], y_TE[start + i, column : column + size])
        dquery_QD[:] = _ZERO
        for past in range(0, start + 1, TILE):
            diagonal = past == start
            seen = height if diagonal else TILE
            block = slice(past, past + seen)
            _score(p_KQ[:seen], queries_DQ[:size], key_SD[block, :size], diagonal)
            _score(ds_KQ[:seen], dout_DQ[:size], value_SD[block, :size], diagonal)
            _differentiate(p_KQ[:seen], ds_KQ[:seen], scale, lse_Q, along_Q, diagonal)
            if tame:
                _add_past(dquery_QD[:height], ds_KQ, key_SD[block], diagonal)
                _add_future(dkey_SD[block], ds_KQ[:seen, :height], query_QD[:height], diagonal)
                _add_future(dvalue_SD[block], p_KQ[:seen, :height], dout_QD[:height], diagonal)
            else:
                _add_visible(
                    dquery_QD[:height],
                    dkey_SD[block],
                    dvalue_SD[block],
                    p_KQ,
                    ds_KQ,
                    query_QD,
                    key_SD[block],
                    dout_QD,
                    diagonal,
                )
        _write(dquery_QD, gradient_TW[start:stop], column, size)
    _write(dkey_SD, gradient_TW, column + channels, size)
    _write(dvalue_SD, gradient_TW, column + 2 * channels, size)


@parallel
def _attention_backward(dy_BTE, qkv_BTW, y_BTE, lse_BHT, dqkv_BTW, workspace, size):
    batch, heads, time = lse_BHT.shape
    slots, tasks = workspace.shape[0], batch * heads
    padded, width = round_up(time, TILE), round_up(size, COLUMNS)
    for slot in prange(slots):
        at, to = 4 * padded * width, 4 * padded * width + 5 * TILE * width
        long_4SD = workspace[slot, :at].reshape(4, padded, width)
        short_5QD = workspace[slot, at:to].reshape(5, TILE, width)
        square_3KQ = workspace[slot, to : to + 3 * TILE * TILE].reshape(3, TILE, TILE)
        for task in range(slot * tasks // slots, (slot + 1) * tasks // slots):
            b, h = task // heads, task % heads
            _head(dy_BTE[b], qkv_BTW[b], y_BTE[b], lse_BHT[b, h], dqkv_BTW[b], h * size, size, long_4SD, short_5QD, square_3KQ)


def _slot(T, D):
    width = -(-D // COLUMNS) * COLUMNS
    return 4 * -(-T // TILE) * TILE * width + 5 * TILE * width + 3 * TILE * TILE


def _workspace(threads, B, T, H, D):  # noqa: ARG001 (all dims come)
    return threads * _slot(T, D)


@register(ATTENTION_BACKWARD, workspace=_workspace, tiles={"T": (TILE, ROWS), "D": (COLUMNS, LANES)})
def numba_flash(dy, qkv, y, lse, dqkv, *, num_heads, workspace):
    slots, size = get_num_threads(), y.shape[2] // num_heads
    slot = _slot(qkv.shape[1], size)
    _attention_backward(dy, qkv, y, lse, dqkv, workspace[: slots * slot].reshape(slots, slot), size)
