"""Two plain loops over each row: its maximum, then the sum of exponentials.

Idea: the loss is log(sum(exp(x - max))) + max - x[target], so no probability can underflow before the logarithm.
Source: karpathy/llm.c, train_gpt2.c, softmax_forward and crossentropy_forward, combined.
Dims: N = rows (batch x time), V = classes in use, P = padding columns, W = V + P.
"""

import math

import numpy as np

from kernels.cross_entropy.spec import CROSS_ENTROPY
from kernels.simd import naive
from registry import register


@naive
def _cross_entropy(logits_NW, targets_N, losses_N, vocab_size):
    for i in range(logits_NW.shape[0]):
        largest = np.float32(-np.inf)
        for j in range(vocab_size):
            largest = max(largest, logits_NW[i, j])
        total = np.float32(0)
        for j in range(vocab_size):
            total += np.float32(math.exp(logits_NW[i, j] - largest))
        losses_N[i] = np.float32(math.log(total)) + (largest - logits_NW[i, targets_N[i]])


@register(CROSS_ENTROPY)
def numba_naive(logits, targets, losses, *, vocab_size):
    _cross_entropy(logits, targets, losses, vocab_size)
