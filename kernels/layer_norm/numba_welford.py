"""Both statistics of a row in one sweep, chunk by chunk.

Builds on: numba_rows, which sweeps a row once for its mean and again for its variance.
Idea: a chunk that fits the vector registers gives its own mean and squared deviation. They merge without cancellation, also
    for a mean far from zero.
Source: B. P. Welford, Technometrics 4 (1962), doi:10.1080/00401706.1962.10490022, for the running mean; T. F. Chan, G. H.
    Golub and R. J. LeVeque, The American Statistician 37 (1983), doi:10.1080/00031305.1983.10483115, for the merge.
Costs: a division per chunk; it is faster only where a row has left the first cache before its second sweep.
Dims: N = rows (batch x time), C = channels, L = channels of a chunk.
"""

import numpy as np
from numba import prange

from kernels.layer_norm.spec import LAYER_NORM
from kernels.simd import jit, parallel
from registry import register

CHUNK = 128  # floats: eight vector registers with AVX-512


@jit
def _chunk(x_L):
    total = np.float32(0)
    for j in range(x_L.size):
        total += x_L[j]
    mean = total / np.float32(x_L.size)
    squares = np.float32(0)
    for j in range(x_L.size):
        deviation = x_L[j] - mean
        squares += deviation * deviation
    return mean, squares


@jit
def _row(x_C, weight_C, bias_C, eps, y_C):
    mean, squares = np.float32(0), np.float32(0)
    for low in range(0, x_C.size, CHUNK):
        high = min(low + CHUNK, x_C.size)
        chunk_mean, chunk_squares = _chunk(x_C[low:high])
        share = np.float32(high - low) / np.float32(high)
        delta = chunk_mean - mean
        mean += delta * share
        squares += chunk_squares + delta * delta * (share * np.float32(low))
    rstd = np.float32(1) / np.sqrt(squares / np.float32(x_C.size) + np.float32(eps))
    for j in range(x_C.size):
        y_C[j] = (x_C[j] - mean) * rstd * weight_C[j] + bias_C[j]
    return mean, rstd


@parallel
def _rows(x_NC, weight_C, bias_C, eps, y_NC, mean_N, rstd_N):
    for i in prange(x_NC.shape[0]):
        mean_N[i], rstd_N[i] = _row(x_NC[i], weight_C, bias_C, eps, y_NC[i])


@register(LAYER_NORM, tiles={"C": (CHUNK,)})
def numba_welford(x, weight, bias, y, mean, rstd, *, eps):
    _rows(x, weight, bias, eps, y, mean, rstd)
