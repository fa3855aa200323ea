"""Fake kernels: wrong outputs made from right ones, such as zeros or a dropped last tile. The battery must reject them.

A problem counts towards a proof only if it rejects at least one fake. The score of a proof is the share of fakes that its
problems rejected. A fake whose outputs never differ from the exact ones (a copy, for an op that copies; an ignored input that
the op may recompute) is equivalent: it is listed, and does not enter the score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.proof.cases.values import drawn_arguments
from harness.proof.reference.oracle import run_reference
from harness.proof.sandbox.buffers import fresh_inouts
from registry.dtypes import BFLOAT16, is_float

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from harness.proof.reference.tolerance import ReferenceOutputs
    from registry.op import Op
    from registry.problem import Problem

    Arrays = Mapping[str, NDArray[Any]]
    Fake = Callable[[], Arrays]

__all__ = ["Tally", "fakes_of"]

TILE = 8
SIX_BITS = np.uint32(0xFFFC_0000)
HALF_BITS = np.uint32(0xFFFF_0000)  # the bits of a float32 that bfloat16 keeps


def _transposed(right: NDArray[Any]) -> NDArray[Any]:
    if right.ndim < 2:  # noqa: PLR2004 (a vector has no transpose: reverse it)
        return right[::-1]
    return np.swapaxes(right, -1, -2).reshape(right.shape)


def _without(right: NDArray[Any], axis: int, count: int) -> NDArray[Any]:
    wrong = np.moveaxis(right.copy(), axis, 0)
    wrong[max(wrong.shape[0] - count, 0) :] = 0
    return np.moveaxis(wrong, 0, axis)


def _bfloat16(right: NDArray[Any]) -> NDArray[Any]:
    return (np.ascontiguousarray(right, np.float32).view(np.uint32) & HALF_BITS).view(np.float32).reshape(right.shape)


def _float16(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float16).astype(np.float32)


def _six_bits(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values with two bits less than bfloat16, which float16 would not change."""
    return (np.ascontiguousarray(values, np.float32).view(np.uint32) & SIX_BITS).view(np.float32).reshape(values.shape)


OF_AN_OUTPUT: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "zeros": np.zeros_like,
    "NaN": lambda right: np.full_like(right, np.nan),
    "constant mean": lambda right: np.full_like(right, right.mean() if right.size else 0.0),
    "transposed": _transposed,
    "last tile dropped": lambda right: _without(right, -1, TILE),
    "last element dropped": lambda right: _without(right, -1, 1),
    "last row dropped": lambda right: _without(right, 0, 1),
    "off by one": lambda right: np.roll(right, 1, axis=-1),
    "sign": np.negative,
    "scale": lambda right: right * 1.001,
    "float16 output": lambda right: right.astype(np.float16).astype(np.float32),
    "bfloat16 output": _bfloat16,
}


def _replaced(op: Op, problem: Problem, values: Arrays) -> Iterator[tuple[str, Fake]]:
    """Yield fakes that run the reference on other inputs: an input zeroed, inputs rounded, another parameter."""
    for argument in drawn_arguments(op):
        name = argument.name
        if name not in fresh_inouts(op, problem.params):
            yield f"ignores {name}", partial(run_reference, op, {**values, name: np.zeros_like(values[name])}, problem.params)
    name, coarser = ("fewer bits inside", _six_bits) if problem.dtype == BFLOAT16.name else ("float16 inside", _float16)
    rounded = {n: coarser(a) if is_float(a.dtype) else a for n, a in values.items()}
    yield name, partial(run_reference, op, rounded, problem.params)
    for name, choices in op.params.items():
        others = [c for c in choices if c != problem.params[name]] if isinstance(choices, tuple) else []
        if others:
            params = {**problem.params, name: others[problem.seed % len(others)]}
            yield f"ignores parameter {name}", partial(run_reference, op, values, params)


def fakes_of(op: Op, problem: Problem, values: Arrays, right: Arrays) -> Iterator[tuple[str, Fake]]:
    """Yield ``name, make``: `make` returns the outputs of one fake kernel on this problem.

    Parameters
    ----------
    right : mapping of str to ndarray
        The exact outputs.
    """

    def put(output: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Arrays:
        return {**right, output: change(right[output])}

    for output in op.outputs:
        for name, change in OF_AN_OUTPUT.items():
            yield f"{output}: {name}", partial(put, output, change)
        for argument in drawn_arguments(op):
            if argument.dims == op_dims(op, output):
                yield f"{output}: copy of {argument.name}", partial(_copied, right, output, values[argument.name])
    yield from _replaced(op, problem, values)


def op_dims(op: Op, name: str) -> str:
    """Return the dim string of one argument."""
    return next(a.dims for a in op.arguments if a.name == name)


def _copied(right: Arrays, output: str, source: NDArray[Any]) -> Arrays:
    return {**right, output: source.astype(np.float64)}


@dataclass
class Tally:
    """The fake kernels that the problems of a proof rejected.

    Attributes
    ----------
    tried : set of str
        All fakes.
    wrong : set of str
        Fakes whose outputs differed from the exact ones on at least one problem.
    rejected : set of str
        Fakes that at least one problem rejected.
    """

    tried: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)

    def try_fakes(self, op: Op, problem: Problem, values: Arrays, reference: ReferenceOutputs) -> bool:
        """Judge fakes on a problem; return whether it rejects any.

        Fakes that earlier problems rejected are judged only until the first rejection.
        """
        right = {n: e.value for n, e in reference.outputs.items()}
        any_rejected = False
        with np.errstate(all="ignore"):
            for name, make in fakes_of(op, problem, values, right):
                self.tried.add(name)
                if name in self.rejected and any_rejected:
                    continue
                fake = make()
                outputs = {n: fake[n].astype(e.dtype) for n, e in reference.outputs.items()}
                if reference.judge(outputs).message:
                    self.rejected.add(name)
                    self.wrong.add(name)
                    any_rejected = True
                elif name not in self.wrong and self._differs(outputs, reference):
                    self.wrong.add(name)
        return any_rejected

    @staticmethod
    def _differs(outputs: Arrays, reference: ReferenceOutputs) -> bool:
        return any(not np.array_equal(outputs[n], e.rounded, equal_nan=True) for n, e in reference.outputs.items())

    @property
    def score(self) -> float:
        """The rejected share of the fakes that are not equivalent."""
        return len(self.rejected) / len(self.wrong) if self.wrong else 0.0

    @property
    def survivors(self) -> list[str]:
        """Fakes with wrong outputs that no problem rejected."""
        return sorted(self.wrong - self.rejected)

    @property
    def equivalent(self) -> list[str]:
        """Fakes whose outputs never differed from the exact ones."""
        return sorted(self.tried - self.wrong)
