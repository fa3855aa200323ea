"""Error laws: the largest difference between a correct floating-point kernel of an op and the exact result.

A law gives gamma, in units in the last place of float32. The harness multiplies gamma by the condition of each element,
which it measures by perturbing the inputs by one rounding. `floor` adds, per output, the magnitude of intermediate results
where the exact result is smaller (``x`` for gelu, whose tail is a difference of near-equal numbers).

Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), sections 3.1 and 4.2; the square root
for independent rounding errors: N. J. Higham and T. Mary, SIAM J. Sci. Comput. 41 (2019), A2815.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.dims import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Elementwise", "ErrorLaw", "Exact", "Sum"]


@dataclass(frozen=True, kw_only=True)
class ErrorLaw:
    """Base class of the error laws.

    Attributes
    ----------
    ulps : float
        The constant factor, in units in the last place.
    floor : mapping of str to callable
        Per output: ``floor(*inputs, *inouts, **params)`` returns an array or number that broadcasts to the output. Its
        rounding error is added to the tolerance.
    """

    ulps: float = 4.0
    floor: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def gamma(self, dims: Mapping[str, int]) -> float:
        """Return the allowed error in units in the last place, for a condition of one."""
        del dims
        return self.ulps


@dataclass(frozen=True, kw_only=True)
class Exact(ErrorLaw):
    """No error at all, for copies, gathers and integer results."""

    ulps: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Elementwise(ErrorLaw):
    """The error of a fixed number of roundings for each element."""


@dataclass(frozen=True, kw_only=True)
class Sum(ErrorLaw):
    """The error of a sum of K terms, in any order of summation: it grows as the square root of K.

    Attributes
    ----------
    over : str
        Dim expression of K, such as ``"C"`` or ``"B*T"``.
    """

    over: str

    def gamma(self, dims: Mapping[str, int]) -> float:
        """Return ``ulps * sqrt(max(K, 1))``."""
        return self.ulps * math.sqrt(max(evaluate(self.over, dims), 1))
