"""Error laws: how far an honest floating-point kernel of an op may stand from the exact result.

A law gives gamma, in units of the last place of float32: the harness multiplies it by the condition of each element,
measured by perturbing the inputs by one rounding. `floor` adds, per output, a magnitude that honest intermediate
results reach even where the exact result is small (``x`` for gelu, whose tail is a difference of near-equal numbers).

Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), sections 3.1 and 4.2; the
square root for rounding errors that do not conspire: N. J. Higham and T. Mary, SIAM J. Sci. Comput. 41 (2019), A2815.
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
    """Base of the laws.

    Attributes
    ----------
    ulps : float
        The constant in front, in units in the last place.
    floor : mapping of str to callable
        Per output: ``floor(*inputs, *inouts, **params)``, an array or number that broadcasts to the output, whose
        rounding error is granted on top.
    """

    ulps: float = 4.0
    floor: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def gamma(self, dims: Mapping[str, int]) -> float:
        """Return the allowed error in units in the last place, for a condition of one."""
        del dims
        return self.ulps


@dataclass(frozen=True, kw_only=True)
class Exact(ErrorLaw):
    """Bit for bit: copies, gathers, integer results."""

    ulps: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Elementwise(ErrorLaw):
    """A fixed number of roundings for each element."""


@dataclass(frozen=True, kw_only=True)
class Sum(ErrorLaw):
    """A sum of K terms: the error grows as the square root of K, whatever the order of summation.

    Attributes
    ----------
    over : str
        Dim expression of K, such as ``"C"`` or ``"B*T"``.
    """

    over: str

    def gamma(self, dims: Mapping[str, int]) -> float:
        """Return ``ulps * sqrt(max(K, 1))``."""
        return self.ulps * math.sqrt(max(evaluate(self.over, dims), 1))
