"""Random initial weights, equal to the weights of PyTorch's ``normal_`` and of llm.c for the same seed.

Source: PyTorch, aten/src/ATen/native/cpu/DistributionTemplates.h and core/DistributionsHelper.h; M. Matsumoto and
T. Nishimura, ACM TOMACS 8 (1998), doi:10.1145/272991.272995; G. E. P. Box and M. E. Muller, Ann. Math. Stat. 29 (1958).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from models.tensors import Init
from registry.dims import evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from models.model import Model

__all__ = ["NormalStream", "initialise"]

BLOCK = 16
HALF = BLOCK // 2
BLOCKS_AT_ONCE = 1 << 13  # 512 KiB of draws and 512 KiB of temporaries, which stay in the second-level cache
STD = 0.02
TWO_PI = np.float32(2 * math.pi)


class NormalStream:
    """The stream of normal numbers that ``torch.manual_seed(seed)`` starts on a CPU.

    Parameters
    ----------
    seed : int
        Only the lowest 32 bits seed the generator, as in PyTorch.
    """

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(seed & 0xFFFFFFFF)  # mt19937; this class uses only its integers
        self._spare: float | None = None

    def fill(self, out: NDArray[np.float32], std: float) -> None:
        """Overwrite the contiguous array `out` with normal numbers of mean 0 and standard deviation `std`.

        For 16 numbers or more, PyTorch draws a uniform number for each and transforms blocks of 16. If the last block is
        incomplete, PyTorch draws the last 16 numbers again. For fewer than 16, PyTorch draws single numbers in double
        precision: each pair of uniform numbers gives two normal numbers, and the second one is kept for the next single draw.
        """
        flat = out.reshape(-1)
        if not np.shares_memory(flat, out) and out.size:
            raise ValueError("the array to fill is not contiguous")
        if flat.size < BLOCK:
            for i in range(flat.size):
                flat[i] = self._scalar() * std
            return
        whole = flat.size - flat.size % BLOCK
        blocks = flat[:whole].reshape(-1, 2, HALF)
        for start in range(0, len(blocks), BLOCKS_AT_ONCE):
            self._fill_blocks(blocks[start : start + BLOCKS_AT_ONCE], std)
        if whole < flat.size:
            self._uint32(
                flat.size - whole
            )  # PyTorch also draws uniform numbers for the incomplete block, and then replaces them
            self._fill_blocks(flat[-BLOCK:].reshape(1, 2, HALF), std)

    def _uint32(self, count: int) -> NDArray[np.uint32]:
        return self._words.randint(0, 1 << 32, size=count, dtype=np.uint32)

    def _fill_blocks(self, blocks: NDArray[np.float32], std: float) -> None:
        """Fill blocks of shape (N, 2, 8) by the Box-Muller transform: row 0 holds the cosine part, row 1 the sine part."""
        uniform = (self._uint32(blocks.size) & np.uint32((1 << 24) - 1)).astype(np.float32).reshape(blocks.shape)
        uniform *= np.float32(2.0**-24)
        radius = np.log(1 - uniform[:, 0])
        radius *= -2
        np.sqrt(radius, out=radius)
        radius *= np.float32(std)
        angle = uniform[:, 1] * TWO_PI
        np.multiply(radius, np.cos(angle), out=blocks[:, 0])
        np.multiply(radius, np.sin(angle), out=blocks[:, 1])

    def _scalar(self) -> float:
        if self._spare is not None:
            value, self._spare = self._spare, None
            return value
        angle, radius = 2 * math.pi * self._double(), math.sqrt(-2 * math.log1p(-self._double()))
        self._spare = radius * math.sin(angle)
        return radius * math.cos(angle)

    def _double(self) -> float:
        high, low = (int(word) for word in self._uint32(2))
        return ((high << 32 | low) & ((1 << 53) - 1)) * 2.0**-53


def initialise(model: Model, seed: int, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Fill the parameters of `model` in place.

    The standard deviation is 0.02, and 0.02/sqrt(2 L) for the projections back into the residual stream. The function draws
    first the tensors without layers, then the tensors of each layer: for GPT-2 wte, wpe, then qkvw, attprojw, fcw and fcprojw
    of layer 0, and so on.

    Parameters
    ----------
    tensors : mapping of str to array
        The tensors of `model.tensors`, each with all its layers: wte (V+P, C), wpe (S, C), qkvw (L, 3C, C), ...
    """
    stream, sizes, layered = NormalStream(seed), model.sizes, []
    for tensor in model.tensors:
        values = tensors[tensor.name]
        if tensor.init in (Init.ONES, Init.ZEROS):
            values[...] = 1 if tensor.init is Init.ONES else 0
        elif tensor.per_layer:
            layered.append((values, STD / math.sqrt(2 * sizes["L"]) if tensor.init is Init.RESIDUAL else STD))
        else:
            rows = evaluate(tensor.rows, sizes) if tensor.rows else len(values)
            stream.fill(values[:rows], STD)
            values[rows:] = 0
    for layer in range(sizes["L"]):
        for values, std in layered:
            stream.fill(values[layer], std)
