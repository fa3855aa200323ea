"""Values for a call at the shape of a training run, similar to those of a training step.

Floats are standard normal. Arguments that the forward pass saves are computed from the others (a second moment is a square).
Token ids are drawn so that few ids are frequent and repeat, as in a text.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.proof.cases.values import drawn_arguments, saved_by
from registry.dims import evaluate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from registry.op import Op
    from registry.problem import Problem

__all__ = ["training_values"]

BLOCK = 1 << 21  # elements


def training_values(op: Op, problem: Problem) -> dict[str, NDArray[Any]]:
    """Return all inputs and in-outs of a problem; its seed decides every element."""
    values = {}
    for number, argument in enumerate(drawn_arguments(op)):
        shape = argument.shape(problem.dims)
        array = np.empty(math.prod(shape), argument.numpy_dtype(problem.dtype))
        if argument.name in op.integers:
            _fill_ids(array, evaluate(op.integers[argument.name], problem.dims), [problem.seed, number])
        else:
            _fill_normal(array, [problem.seed, number])
        values[argument.name] = array.reshape(shape)
    for name, array in saved_by(op, values, problem.params).items():
        values[name] = np.ascontiguousarray(array, values[name].dtype)
    return values


def _fill_normal(array: NDArray[Any], seed: list[int]) -> None:
    """Fill with standard normal numbers; each further block is the first block, rotated by a random distance."""
    random = np.random.default_rng(seed)
    first = random.standard_normal(min(array.size, BLOCK), np.float32).astype(array.dtype, copy=False)
    array[:BLOCK] = first
    for start in range(BLOCK, array.size, BLOCK):
        place, end = int(random.integers(BLOCK)), min(start + BLOCK, array.size)
        array[start:end] = np.concatenate((first[place:], first[:place]))[: end - start]


def _fill_ids(array: NDArray[Any], bound: int, seed: list[int]) -> None:
    """Draw ids below `bound`, id k with a frequency of about 1 / (k + 1); the first element is the last id."""
    drawn = np.random.default_rng(seed).random(array.size)
    array[...] = np.minimum((bound + 1.0) ** drawn - 1, bound - 1)
    array[:1] = bound - 1
