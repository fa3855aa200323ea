"""numba's decorators with types, and raw addresses as arrays inside compiled functions.

numba reads no annotations: those of compiled functions are for the reader and for mypy. Its cache would notice changes of a
function's own file alone, but functions here call those of other files and hold constants of theirs: so each entry is stamped
with the content of all files that compiled functions are made of.
"""

from __future__ import annotations

import hashlib
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils, sigutils
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Callback",
    "Longs",
    "Number",
    "Words",
    "as_pointer",
    "callback",
    "compiled",
    "count_lanes",
    "entry",
    "inlined",
    "longs_at",
    "run_warp",
    "words_at",
]

Function = TypeVar("Function", bound="Callable[..., object]")
Longs = npt.NDArray[np.int64]
Words = npt.NDArray[np.int32]
Number = Any
"""A scalar of the width numba infers, or an array of such."""


@cache
def _stamp() -> tuple[str, int]:
    """Return what changes with any file that compiled functions come from."""
    room = Path(__file__).resolve().parents[1]
    files = sorted([*room.glob("checks/*.py"), *room.glob("runtime/*.py"), room / "codegen" / "layout.py"])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest(), len(files)


def _keep_on_disk(made: Any) -> None:  # noqa: ANN401 (a dispatcher or a callback of numba's)
    made.enable_caching()
    made._cache._cache_file._source_stamp = _stamp()  # noqa: SLF001 (numba has no public way to name further sources)


_LEAN = {"error_model": "numpy"}  # divisors are not tested: none is ever 0
_INNER = {**_LEAN, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def compiled(function: Function) -> Function:
    """Compile a function when one that is compiled first calls it, and keep the machine code on disk."""
    made: Function = numba.njit(**_INNER)(function)
    _keep_on_disk(made)
    return made


def entry(function: Function) -> Function:
    """Compile a function when Python first calls it, and keep the machine code on disk."""
    made: Function = numba.njit(**_LEAN)(function)
    _keep_on_disk(made)
    return made


def inlined(function: Function) -> Function:
    """Compile a function into each of its callers."""
    made: Function = numba.njit(inline="always")(function)
    return made


@inlined
def count_lanes(bits: int) -> Number:
    """Return how many of 32 bits are set."""
    left = np.int64(bits) & 0xFFFFFFFF
    left -= (left >> 1) & 0x55555555
    left = (left & 0x33333333) + ((left >> 2) & 0x33333333)
    left = (left + (left >> 4)) & 0x0F0F0F0F
    return ((left * 0x01010101) & 0xFFFFFFFF) >> 24


class Callback:
    """A function that generated code can call; it is compiled, or read from disk, when its address is first asked for."""

    def __init__(self, function: Callable[..., object], signature: object) -> None:
        self._function, self._signature = function, signature

    @cached_property
    def address(self) -> int:
        """The machine code, which lives as long as this."""
        self._made = CFunc(self._function, sigutils.normalize_signature(self._signature), locals={}, options=_LEAN)
        _keep_on_disk(self._made)
        self._made.compile()
        return int(self._made.address or 0)


def callback(signature: object) -> Callable[[Callable[..., object]], Callback]:
    """Make a function one that generated code can call, by its address."""

    def decorate(function: Callable[..., object]) -> Callback:
        return Callback(function, signature)

    return decorate


@intrinsic  # type: ignore[untyped-decorator]  # (numba has no types)
def as_pointer(_typing_context: object, source: object) -> object:
    """Turn an integer into a pointer that ``carray`` takes."""

    def generate(_context: object, builder: Any, _signature: object, arguments: Any) -> object:  # noqa: ANN401 (numba's protocol)
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(source), generate


def _array_at(element: object) -> Any:  # noqa: ANN401 (an intrinsic of numba's)
    """Return an intrinsic that takes an address for an array of unknown length; its indices are not tested for their sign."""

    @intrinsic  # type: ignore[untyped-decorator]  # (numba has no types)
    def at(_typing_context: object, address: object) -> object:
        kind = types.CPointer(element)

        def generate(context: Any, builder: Any, _signature: object, arguments: Any) -> object:  # noqa: ANN401 (numba's protocol)
            return builder.inttoptr(arguments[0], context.get_value_type(kind))

        return kind(address), generate

    return at


longs_at, words_at = _array_at(types.int64), _array_at(types.uint32)


@intrinsic  # type: ignore[untyped-decorator]  # (numba has no types)
def run_warp(_typing_context: object, _function: object, _state: object) -> object:
    """Call the machine code at an address with the address of a warp's state; return the warp's status."""

    def generate(_context: object, builder: Any, _signature: object, arguments: Any) -> object:  # noqa: ANN401 (numba's protocol)
        function, state = arguments
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(64)])
        return builder.call(builder.inttoptr(function, kind.as_pointer()), [state])

    return types.int32(types.int64, types.int64), generate
