"""Cuts a large problem into parts that can be compared one after the other.

A dim is independent if some of its indices in the outputs depend on the same indices in the inputs alone: the rows of a layer
norm, the rows and the columns of a matrix product, the elements of AdamW. The op need not declare its independent dims. The
reference is computed on small arrays as a whole and in two parts, and the results are compared.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.proof.cases.values import materialise
from harness.proof.reference.oracle import run_reference
from registry.dims import names_in
from registry.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from registry.op import Argument, Op

    Arrays = Mapping[str, NDArray[Any]]

__all__ = ["Part", "independent_dims", "parts", "take"]

PRIMES = (7, 13, 5, 11)  # small sizes, all different
CUT = 2  # the index at which a small dim is cut in two
SAME = 1e-10  # relative and absolute difference of two float64 sums of the same terms in another order


@dataclass(frozen=True, eq=False)
class Part:
    """Some indices of one dim of a problem, with the inputs and the outputs that belong to them.

    Attributes
    ----------
    dim : str
        The independent dim; "" for the whole problem.
    indices : ndarray
        Indices of `dim` in the whole problem.
    """

    op: Op
    problem: Problem
    values: Arrays
    outputs: Arrays
    dim: str
    indices: NDArray[Any]

    def some(self, which: NDArray[Any]) -> Part:
        """Return a smaller part with the given positions along `dim`."""
        return Part(
            self.op,
            _resized(self.problem, self.dim, len(which)),
            take(self.op, self.values, self.dim, which),
            take(self.op, self.outputs, self.dim, which),
            self.dim,
            self.indices[which],
        )

    def axis(self, name: str) -> int:
        """Return the axis of an output along which `dim` runs."""
        return axes(self.op, self.dim)[name]

    def place(self, name: str, index: tuple[int, ...]) -> tuple[int, ...]:
        """Return the index in the whole problem of an element of an output of this part."""
        if not self.dim:
            return index
        axis = self.axis(name)
        return (*index[:axis], int(self.indices[index[axis]]), *index[axis + 1 :])


def axes(op: Op, dim: str) -> dict[str, int]:
    """Return, per argument that has `dim`, the axis along which `dim` runs."""
    return {a.name: a.dims.split().index(dim) for a in op.arguments if dim in a.dims.split()}


def take(op: Op, arrays: Arrays, dim: str, which: slice | NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the arrays with the indices `which` of `dim`; arrays without this dim stay whole."""
    along = axes(op, dim)
    return {n: a[(slice(None),) * along[n] + (which,)] if n in along else a for n, a in arrays.items()}


def _resized(problem: Problem, dim: str, size: int) -> Problem:
    return replace(problem, dims={**problem.dims, dim: size})


def _is_plain(argument: Argument, dim: str) -> bool:
    """Return whether `dim` is one axis of the argument, or does not occur in its shape at all."""
    words = argument.dims.split()
    return words.count(dim) == sum(dim in names_in(word) for word in words) <= 1


@cache
def independent_dims(op: Op) -> tuple[str, ...]:
    """Return the dims along which a problem of this op can be cut."""
    return tuple(dim for dim in op.domain if _may_be_cut(op, dim) and all(_is_cut(op, dim, which) for which in (0, -1)))


def _may_be_cut(op: Op, dim: str) -> bool:
    in_params = any(dim in names_in(v) for v in op.params.values() if isinstance(v, str))
    in_outputs = all(dim in a.dims.split() for a in op.arguments if a.name in op.outputs)
    return in_outputs and not in_params and all(_is_plain(a, dim) for a in op.arguments)


def _is_cut(op: Op, dim: str, which: int) -> bool:
    """Return whether the reference gives the same outputs as a whole and in two parts, with one value of each parameter."""
    dims = {
        name: min(size, allowed[-1]) for (name, allowed), size in zip(op.domain.items(), itertools.cycle(PRIMES), strict=False)
    }
    drawn = {n: v[which] for n, v in op.params.items() if not isinstance(v, str)}
    problem = Problem(op.name, dims, {**drawn, **op.bound_params(dims)}, op.dtypes[0])
    if op.error.gamma(dims) != op.error.gamma({**dims, dim: CUT}):
        return False
    values = materialise(op, problem)
    whole = run_reference(op, values, problem.params)
    for piece in (slice(0, CUT), slice(CUT, dims[dim])):
        outputs = run_reference(op, take(op, values, dim, piece), problem.params)
        expected = take(op, whole, dim, piece)
        if not all(np.allclose(outputs[n], expected[n], rtol=SAME, atol=SAME) for n in op.outputs):
            return False
    return True


def parts(op: Op, problem: Problem, values: Arrays, outputs: Arrays, most: int) -> Iterator[Part]:
    """Yield parts whose arrays have about `most` elements together; the whole problem where no dim can be cut.

    An array that cannot be cut belongs to every part. Parts are larger than `most` where such arrays are large.
    """
    sizes = {a.name: math.prod(a.shape(problem.dims)) for a in op.arguments}

    def within(dim: str) -> int:
        return sum(sizes[n] for n in axes(op, dim))

    dim = max(independent_dims(op), key=within, default="")
    length = problem.dims.get(dim, 0)
    if length <= 1 or sum(sizes.values()) <= most:
        yield Part(op, problem, values, outputs, dim if length else "", np.arange(length))
        return
    shared = sum(sizes.values()) - within(dim)  # elements that every part needs
    step = max(1, max(most - shared, shared) * length // within(dim))
    for start in range(0, length, step):
        piece = slice(start, min(start + step, length))
        indices = np.arange(piece.start, piece.stop)
        some, theirs = (take(op, arrays, dim, piece) for arrays in (values, outputs))
        yield Part(op, _resized(problem, dim, len(indices)), some, theirs, dim, indices)
