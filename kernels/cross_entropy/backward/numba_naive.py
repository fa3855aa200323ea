"""Plain loops over each row: maximum, sum of exponentials, then the gradient over the logits.

Idea: p - onehot needs the probabilities only once, so they replace the logits and no other array of that size exists.
Source: karpathy/llm.c, train_gpt2.c, crossentropy_softmax_backward.
"""

import math

import numpy as np

from kernels.cross_entropy.spec import CROSS_ENTROPY_BACKWARD
from kernels.simd import naive
from registry import register


@naive
def _cross_entropy_backward(targets, losses, logits, vocab_size, scale):
    for i in range(logits.shape[0]):
        largest = np.float32(-np.inf)
        for j in range(vocab_size):
            largest = max(largest, logits[i, j])
        total = np.float32(0)
        for j in range(vocab_size):
            total += np.float32(math.exp(logits[i, j] - largest))
        losses[i] = np.float32(math.log(total)) + (largest - logits[i, targets[i]])
        for j in range(vocab_size):
            p = np.float32(math.exp(logits[i, j] - largest)) / total
            logits[i, j] = (p - np.float32(j == targets[i])) * scale
        for j in range(vocab_size, logits.shape[1]):
            logits[i, j] = 0


@register(CROSS_ENTROPY_BACKWARD)
def numba_naive(targets, losses, logits, *, vocab_size, scale):
    _cross_entropy_backward(targets, losses, logits, vocab_size, np.float32(scale))
