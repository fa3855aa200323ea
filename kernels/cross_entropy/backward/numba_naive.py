"""Plain loops over each row: maximum, sum of exponentials, then the gradient over the logits.

Idea: p - onehot needs each probability once, so the gradient replaces the logits and no other array of that size exists.
Source: karpathy/llm.c, train_gpt2.c, crossentropy_softmax_backward.
Dims: N = rows (batch x time), V = classes in use, P = padding columns, W = V + P.
"""

import math

import numpy as np

from kernels.cross_entropy.spec import CROSS_ENTROPY_BACKWARD
from kernels.simd import naive
from registry import register


@naive
def _cross_entropy_backward(targets_N, losses_N, logits_NW, vocab_size, scale):
    for i in range(logits_NW.shape[0]):
        largest = np.float32(-np.inf)
        for j in range(vocab_size):
            largest = max(largest, logits_NW[i, j])
        total = np.float32(0)
        for j in range(vocab_size):
            total += np.float32(math.exp(logits_NW[i, j] - largest))
        losses_N[i] = np.float32(math.log(total)) + (largest - logits_NW[i, targets_N[i]])
        for j in range(vocab_size):
            p = np.float32(math.exp(logits_NW[i, j] - largest)) / total
            logits_NW[i, j] = (p - np.float32(j == targets_N[i])) * scale
        for j in range(vocab_size, logits_NW.shape[1]):
            logits_NW[i, j] = 0


@register(CROSS_ENTROPY_BACKWARD)
def numba_naive(targets, losses, logits, *, vocab_size, scale):
    _cross_entropy_backward(targets, losses, logits, vocab_size, np.float32(scale))
