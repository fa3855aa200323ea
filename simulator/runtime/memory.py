"""Device memory: one arena with the parameters, the module's variables, the arrays between red zones, shared and local memory.

Arrays that overlap in CPU memory overlap here. Every array keeps its address modulo 256, so misaligned views stay misaligned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.errors import LaunchError
from simulator.interface.warp_state import ADDRESS_BIAS, PARAMETERS, aligned

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["Arena", "Buffer", "Reserve", "place_arrays"]

_UNIT = 256
_RED_ZONE = 256
_MAX_ARENA = (1 << 31) - 4096


class Reserve:
    """Memory that the next launch reuses: new pages of the system cost more time than a small launch.

    Parameters
    ----------
    limit
        Bytes beyond which memory is not kept.
    """

    def __init__(self, limit: int = 1 << 26) -> None:
        self._limit = limit
        self._spare: list[npt.NDArray[np.uint8]] = []

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """Return `size` bytes with any contents."""
        spare = self._spare.pop() if self._spare else None  # one step: no two threads get the same
        return spare[:size] if spare is not None and len(spare) >= size else np.empty(size, np.uint8)

    def give_back(self, memory: npt.NDArray[np.uint8]) -> None:
        """Keep memory that `take` returned and that is no longer used."""
        whole = memory if memory.base is None else memory.base
        if not self._spare and len(whole) <= self._limit:
            self._spare.append(whole)


_reserve = Reserve()


@dataclass(frozen=True, slots=True)
class Buffer:
    """An array of the caller's and its place in the arena."""

    argument: int
    array: npt.NDArray[np.generic]
    offset: int

    @property
    def size(self) -> int:
        """Return the bytes it takes."""
        return self.array.nbytes

    @property
    def bytes(self) -> npt.NDArray[np.uint8]:
        """Return the caller's memory."""
        return self.array.reshape(-1).view(np.uint8)


def place_arrays(arrays: Sequence[tuple[int, npt.NDArray[np.generic]]], start: int) -> tuple[list[Buffer], int]:
    """Give each array, numbered by its argument, an offset from `start` on; return them and the end."""
    spans = sorted((array.ctypes.data, array.nbytes, argument, array) for argument, array in arrays)
    buffers, cpu_end, shift, end = [], -1, 0, start
    for address, size, argument, array in spans:
        if address >= cpu_end:  # apart from the last one: a place of its own, after a red zone
            offset = aligned(end + _RED_ZONE, _UNIT) + address % _UNIT
            shift = offset - address
        cpu_end = max(cpu_end, address + size)
        end = max(end, address + shift + max(size, 1))
        buffers.append(Buffer(argument, array, address + shift))
    return buffers, end


@dataclass(slots=True)
class Arena:
    """The memory of one launch."""

    raw: npt.NDArray[np.uint8]
    memory: npt.NDArray[np.uint8]
    buffers: list[Buffer]
    shared: int
    shared_size: int
    shared_parts: list[tuple[int, int]]
    local: int
    local_stride: int

    @classmethod
    def lay_out(
        cls,
        arrays: Sequence[tuple[int, npt.NDArray[np.generic]]],
        *,
        start: int,
        shared: Sequence[tuple[int, int]],
        local: int,
        threads: int,
    ) -> Arena:
        """Return an arena with the arrays copied in.

        Parameters
        ----------
        arrays
            Arguments by number.
        start
            The end of the module's variables.
        shared
            Start and size of each part of a block's shared memory, from 0 up; gaps between them belong to no variable.
        local
            Bytes of local memory of a thread.
        threads
            Threads of a block, whole warps.
        """
        buffers, end = place_arrays(arrays, start)
        shared_at = aligned(end + _RED_ZONE, _UNIT)
        parts = [(shared_at + start, size) for start, size in shared if size]
        shared_size, stride = aligned(max([0, *(start + size for start, size in shared if size)]), 16), aligned(local, 16)
        local_at = aligned(shared_at + shared_size + _RED_ZONE, _UNIT)
        size = aligned(local_at + stride * threads + 4096, _UNIT)
        if size > _MAX_ARENA:
            raise LaunchError(f"the arrays and local memory of the launch take {size:,} bytes; the simulated device has 2 GiB.")
        raw = _reserve.take(size + 2 * _UNIT)  # slack on both sides: narrow elements are read as whole words
        skip = -raw.ctypes.data % _UNIT
        arena = cls(raw, raw[skip : skip + size], buffers, shared_at, shared_size, parts, local_at, stride)
        filled = 0
        for buffer in buffers:
            arena.memory[filled : buffer.offset] = 0
            filled = max(filled, buffer.offset + buffer.size)
            arena.memory[buffer.offset : buffer.offset + buffer.size] = buffer.bytes
        arena.memory[filled:] = 0
        return arena

    @property
    def address(self) -> int:
        """Return the CPU address of the arena."""
        return self.memory.ctypes.data

    def pointer(self, argument: int) -> int:
        """Return the device address of an argument's array."""
        return next(ADDRESS_BIAS + buffer.offset for buffer in self.buffers if buffer.argument == argument)

    def write_parameters(self, block: bytes | bytearray) -> None:
        """Copy the parameter block in."""
        if block:  # numpy has no view of an empty buffer
            self.memory[PARAMETERS : PARAMETERS + len(block)] = np.frombuffer(block, np.uint8)

    def copy_back(self) -> None:
        """Copy the arrays the caller may see changed back out."""
        for buffer in self.buffers:
            if buffer.array.flags.writeable:
                buffer.bytes[:] = self.memory[buffer.offset : buffer.offset + buffer.size]

    def give_back(self) -> None:
        """Give the memory to the next launch; the arena is invalid afterwards."""
        _reserve.give_back(self.raw)

    def describe(self, offset: int) -> str:
        """Return the array or the memory at an offset in words, or the nearest one."""
        if self.local_stride and self.local <= offset < len(self.memory):
            return f"local memory, byte {(offset - self.local) % self.local_stride}"
        places = [(b.offset, b.size, f"argument {b.argument}") for b in self.buffers]
        # A stray address is named after the nearest place: the red zone of an array may also be that of shared memory.
        places += [(start, size, "shared memory") for start, size in self.shared_parts]
        start, size, name = min(places, key=lambda p: max(p[0] - offset, offset - p[0] - p[1] + 1, 0), default=(0, 0, ""))
        if not start - _RED_ZONE <= offset < start + size + _RED_ZONE:
            return f"address {ADDRESS_BIAS + offset:#x}, which belongs to no array"
        if offset < start:
            return f"{start - offset} bytes before {name}"
        if offset >= start + size:
            return f"{offset - start - size} bytes past the end of {name} ({size} bytes)"
        return f"{name}, byte {offset - start} of {size}"
