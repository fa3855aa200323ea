"""numba's decorators with types, and raw addresses as arrays inside compiled functions.

numba reads no annotations: those of compiled functions are for the reader and for mypy. Its cache notices changes of a
function's own file alone; after a change to a function that another file's compiled functions call, remove ``__pycache__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Longs", "Number", "Words", "as_pointer", "callback", "compiled", "inlined"]

Function = TypeVar("Function", bound="Callable[..., object]")
Longs = npt.NDArray[np.int64]
Words = npt.NDArray[np.int32]
Number = Any
"""A scalar of the width numba infers, or an array of such."""


def compiled(function: Function) -> Function:
    """Compile a function, and keep the machine code on disk."""
    made: Function = numba.njit(cache=True)(function)
    return made


def inlined(function: Function) -> Function:
    """Compile a function into each of its callers."""
    made: Function = numba.njit(inline="always")(function)
    return made


def callback(signature: object) -> Callable[[Function], Any]:
    """Compile a function that generated code can call, and keep the machine code on disk."""
    decorate: Callable[[Function], Any] = numba.cfunc(signature, cache=True)
    return decorate


@intrinsic  # type: ignore[untyped-decorator]  # (numba has no types)
def as_pointer(_typing_context: object, source: object) -> object:
    """Turn an integer into a pointer that ``carray`` takes."""

    def generate(_context: object, builder: Any, _signature: object, arguments: Any) -> object:  # noqa: ANN401 (numba's protocol)
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(source), generate
