"""The geometry and the arguments of a launch: checked as CUDA would, then packed as the kernel's signature says."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING

import numpy as np

from simulator.errors import LaunchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from simulator.ptx.model import Parameter, Signature

__all__ = ["MAX_SHARED", "Dimensions", "arrays_of", "check_geometry", "pack", "three"]

Dimensions = tuple[int, int, int]

MAX_THREADS = 1024
_MAX_BLOCK = (1024, 1024, 64)
_MAX_GRID = ((1 << 31) - 1, 65535, 65535)
_STATIC_SHARED = 48 << 10
MAX_SHARED = 227 << 10
"""Bytes of shared memory a block can have on sm_90, the largest of the devices the project compiles for."""
_POINTER_BYTES = 8
_FORMATS = {
    "u8": "B", "s8": "b", "b8": "B", "u16": "H", "s16": "h", "b16": "H", "u32": "I", "s32": "i", "b32": "I",
    "u64": "Q", "s64": "q", "b64": "Q", "f32": "f", "f64": "d",
}  # fmt: skip


def three(size: int | Sequence[int], name: str) -> Dimensions:
    """Return a grid or block size with all three dimensions."""
    given = (size,) if isinstance(size, (int, np.integer)) else tuple(size)
    if not 1 <= len(given) <= len("xyz") or any(int(extent) != extent for extent in given):
        raise LaunchError(f"{name} has one to three whole dimensions, not {size!r}.")
    x, y, z = (*(int(extent) for extent in given), 1, 1)[:3]
    return x, y, z


def check_geometry(kernel: Signature, grid: Dimensions, block: Dimensions, *, static: int, dynamic: int) -> None:
    """Refuse a geometry that no device would launch."""
    name = kernel.name
    for kind, dimensions, limits in (("grid", grid, _MAX_GRID), ("block", block, _MAX_BLOCK)):
        for axis, extent, limit in zip("xyz", dimensions, limits, strict=True):
            if not 1 <= extent <= limit:
                raise LaunchError(f"{name}: {kind} {dimensions} has {axis} = {extent}; allowed are 1 to {limit:,}.")
    threads = block[0] * block[1] * block[2]
    if threads > MAX_THREADS:
        raise LaunchError(f"{name}: block {block} has {threads:,} threads; a block has at most {MAX_THREADS:,}.")
    bound = kernel.directives.get("maxntid")
    if bound and threads > int(np.prod(bound)):
        raise LaunchError(
            f"{name}: block {block} has {threads:,} threads; its __launch_bounds__ allow {int(np.prod(bound)):,}."
        )
    if dynamic < 0:
        raise LaunchError(f"{name}: {dynamic} bytes of dynamic shared memory.")
    if static > _STATIC_SHARED:
        raise LaunchError(f"{name}: {static:,} bytes of static shared memory; allowed are {_STATIC_SHARED:,}.")
    if static + dynamic > MAX_SHARED:
        raise LaunchError(
            f"{name}: {static + dynamic:,} bytes of shared memory ({dynamic:,} dynamic); a block has at most {MAX_SHARED:,}."
        )


def arrays_of(kernel: Signature, arguments: Sequence[object]) -> list[tuple[int, npt.NDArray[np.generic]]]:
    """Return the arrays among the arguments, by number, after a check that a kernel can take each of them."""
    parameters = kernel.parameters
    if len(arguments) != len(parameters):
        raise LaunchError(f"{kernel.name} takes {len(parameters)} arguments, not {len(arguments)}.")
    arrays = []
    for number, (parameter, argument) in enumerate(zip(parameters, arguments, strict=True)):
        if not isinstance(argument, np.ndarray):
            continue
        if parameter.size != _POINTER_BYTES or parameter.type.startswith("f") or parameter.count:
            raise LaunchError(f"{kernel.name}: argument {number} is an array; the parameter is one {parameter.type}.")
        if not argument.flags.c_contiguous:
            raise LaunchError(f"{kernel.name}: argument {number} is an array of shape {argument.shape} that is not contiguous.")
        if argument.dtype.hasobject:
            raise LaunchError(f"{kernel.name}: argument {number} is an array of Python objects.")
        arrays.append((number, argument))
    return arrays


def pack(kernel: Signature, arguments: Sequence[object], pointers: dict[int, int]) -> bytearray:
    """Return the parameter block; arrays are given by the device addresses in `pointers`."""
    packed = bytearray(kernel.parameter_bytes)
    for number, (parameter, argument) in enumerate(zip(kernel.parameters, arguments, strict=True)):
        if number in pointers:
            struct.pack_into("<Q", packed, parameter.offset, pointers[number])
        elif parameter.count or parameter.type not in _FORMATS:
            packed[parameter.offset : parameter.offset + parameter.size] = _bytes_of(kernel, number, parameter, argument)
        else:
            struct.pack_into(
                "<" + _FORMATS[parameter.type], packed, parameter.offset, _scalar(kernel, number, parameter, argument)
            )
    return packed


def _bytes_of(kernel: Signature, number: int, parameter: Parameter, argument: object) -> bytes:
    """Return a struct passed by value."""
    content = argument.tobytes() if isinstance(argument, np.generic) else argument
    if not isinstance(content, bytes) or len(content) != parameter.size:
        raise LaunchError(
            f"{kernel.name}: argument {number} is {_shown(argument)}; the parameter is a struct of {parameter.size} bytes."
        )
    return content


def _shown(argument: object) -> str:
    return (
        f"{type(argument).__name__} {argument!r}"
        if isinstance(argument, (int, float, bool, bytes))
        else type(argument).__name__
    )


def _scalar(kernel: Signature, number: int, parameter: Parameter, argument: object) -> float:
    """Return a scalar that fits the parameter's type."""
    kind = parameter.type
    if argument is None and parameter.size == _POINTER_BYTES and not kind.startswith("f"):
        return 0
    value = argument.item() if isinstance(argument, np.generic) else argument
    if isinstance(value, (bool, int)):
        return float(value) if kind.startswith("f") else _whole(kernel, number, parameter, int(value))
    if isinstance(value, float) and kind.startswith("f"):
        return _finite_or_infinite(value, kind)
    raise LaunchError(f"{kernel.name}: argument {number} is {_shown(argument)}; the parameter is {kind}.")


def _finite_or_infinite(value: float, kind: str) -> float:
    """Return a double as the parameter holds it: a value beyond float becomes infinite, as in a C conversion."""
    return ctypes.c_float(value).value if kind == "f32" else value


def _whole(kernel: Signature, number: int, parameter: Parameter, value: int) -> int:
    bits = 8 * parameter.size
    if not -(1 << (bits - 1)) <= value < 1 << bits:
        raise LaunchError(f"{kernel.name}: argument {number} is {value}, which does not fit the parameter's {parameter.type}.")
    value &= (1 << bits) - 1
    is_signed = parameter.type.startswith("s")
    return value - (1 << bits) if is_signed and value >> (bits - 1) else value
