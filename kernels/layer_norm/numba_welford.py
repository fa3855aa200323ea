"""Both statistics of a row in one sweep, chunk by chunk.

Builds on: numba_rows, which sweeps a row once for its mean and again for its variance.
Idea: a chunk that fits the vector registers gives its own mean and squared deviation, and these merge without
    cancellation, however far the mean lies from zero.
Source: B. P. Welford, Technometrics 4 (1962), doi:10.1080/00401706.1962.10490022, for the running mean; T. F. Chan,
    G. H. Golub and R. J. LeVeque, The American Statistician 37 (1983), doi:10.1080/00031305.1983.10483115, for the merge.
Costs: a division per chunk; it pays only where a row has left the first cache before its second sweep.
"""

import numpy as np
from numba import prange

from kernels.layer_norm.spec import LAYER_NORM
from kernels.simd import jit, parallel
from registry import register

CHUNK = 128


@jit
def _chunk(x):
    total = np.float32(0)
    for j in range(x.size):
        total += x[j]
    mean = total / np.float32(x.size)
    squares = np.float32(0)
    for j in range(x.size):
        deviation = x[j] - mean
        squares += deviation * deviation
    return mean, squares


@jit
def _row(x, weight, bias, eps, y):
    mean, squares = np.float32(0), np.float32(0)
    for low in range(0, x.size, CHUNK):
        high = min(low + CHUNK, x.size)
        chunk_mean, chunk_squares = _chunk(x[low:high])
        share = np.float32(high - low) / np.float32(high)
        delta = chunk_mean - mean
        mean += delta * share
        squares += chunk_squares + delta * delta * (share * np.float32(low))
    rstd = np.float32(1) / np.sqrt(squares / np.float32(x.size) + np.float32(eps))
    for j in range(x.size):
        y[j] = (x[j] - mean) * rstd * weight[j] + bias[j]
    return mean, rstd


@parallel
def _rows(x, weight, bias, eps, y, mean, rstd):
    for i in prange(x.shape[0]):
        mean[i], rstd[i] = _row(x[i], weight, bias, eps, y[i])


@register(LAYER_NORM, tiles={"C": (CHUNK,)})
def numba_welford(x, weight, bias, y, mean, rstd, *, eps):
    _rows(x, weight, bias, eps, y, mean, rstd)
