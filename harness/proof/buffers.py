"""The memory of one call: every buffer between guard bands, outputs poisoned, inputs kept to be compared afterwards.

All buffers of a call lie in one memory that parent and worker share. The parent fills it, the worker calls the variant
on views of it, and the parent looks at what became of it, so that no report of the worker has to be believed.
"""

from __future__ import annotations

import math
import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.op import Role
from registry.problem import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from registry.op import Op
    from registry.problem import Problem

__all__ = ["Buffers", "Memory", "Slot", "bits_of", "fresh_inouts", "view"]

ALIGNMENT = 64
GUARD_BYTES = 1024
# Signalling NaNs: they poison every sum they enter, and no arithmetic gives them back unchanged.
# As they repeat, both are that for float32 and for bfloat16.
GUARD, POISON = np.uint16(0x7FA1), np.uint16(0x7FA2)
WORD = 2
FIRST_BYTES = 1 << 22


class Memory:
    """Anonymous memory that a child process can map too; it grows as needed."""

    def __init__(self) -> None:
        self.file = os.memfd_create("crucible")
        self.size = 0
        self._map: mmap.mmap | None = None
        self.grow(FIRST_BYTES)

    def grow(self, size: int) -> None:
        """Make sure that `size` bytes are there."""
        if size > self.size:
            self.size = 1 << (size - 1).bit_length()
            os.ftruncate(self.file, self.size)
            self._map = mmap.mmap(self.file, self.size)

    @property
    def words(self) -> NDArray[Any]:
        """All of it, as 16-bit words."""
        return np.frombuffer(self.mapped, np.uint16)

    @property
    def mapped(self) -> mmap.mmap:
        """The mapping itself."""
        if self._map is None:
            raise ValueError("this memory is closed")
        return self._map

    def close(self) -> None:
        """Give the memory back once the last view of it is gone."""
        if self._map is not None:
            self._map = None
            os.close(self.file)


@dataclass(frozen=True)
class Slot:
    """Where one array of a call lies."""

    name: str
    offset: int
    shape: tuple[int, ...]
    dtype: str
    role: str

    @property
    def bytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * self.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return np.dtype(self.dtype).itemsize


def view(memory: mmap.mmap, slot: Slot) -> NDArray[Any]:
    """Return the array that lies at `slot`."""
    return np.ndarray(slot.shape, slot.dtype, memory, slot.offset)


def bits_of(array: NDArray[Any]) -> NDArray[Any]:
    """Return the elements of a contiguous array as unsigned integers, in one dimension."""
    return array.reshape(-1).view(f"uint{8 * array.dtype.itemsize}")


def fresh_inouts(op: Op, params: Mapping[str, Any]) -> set[str]:
    """Return the in-outs that this call must write without reading: their ``accumulate`` parameter is False.

    ``accumulate`` speaks for all in-outs, ``accumulate_wte`` for ``dwte`` alone.
    """
    inouts = {a.name for a in op.with_role(Role.INOUT)}
    found = set()
    for name, value in params.items():
        if name.startswith("accumulate") and not value:
            suffix = name.removeprefix("accumulate").lstrip("_")
            found |= {n for n in inouts if n.endswith(suffix)}
    return found


class Buffers:
    """The layout of one call's arrays.

    Parameters
    ----------
    op : Op
    problem : Problem
    workspace : int, optional
        Number of float32 elements of scratch memory, which may be 0; None for a variant that takes none.
    shift : int
        Bytes by which everything moves, a multiple of 64.
    """

    def __init__(self, op: Op, problem: Problem, workspace: int | None = None, shift: int = 0) -> None:
        self.op, self.problem = op, problem
        self.fresh = fresh_inouts(op, problem.params)
        self.slots: dict[str, Slot] = {}
        end = shift
        kinds = [(a.name, a.shape(problem.dims), a.numpy_dtype(problem.dtype).name, a.role.value) for a in op.arguments]
        if workspace is not None:
            kinds.append(("workspace", (workspace,), "float32", "workspace"))
        for name, shape, dtype, role in kinds:
            offset = -(-(end + GUARD_BYTES) // ALIGNMENT) * ALIGNMENT
            if problem.layout != LAYOUTS[0]:
                offset += np.dtype(dtype).itemsize
            self.slots[name] = Slot(name, offset, shape, dtype, role)
            end = offset + self.slots[name].bytes
        self.begin, self.end = shift, -(-(end + GUARD_BYTES) // ALIGNMENT) * ALIGNMENT

    def fill(self, memory: Memory, values: Mapping[str, NDArray[Any]], keep: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Write guards, inputs and poison; in-outs are poisoned where the call must not read them.

        `keep` overrides what in-outs and outputs hold before the call.
        """
        memory.grow(self.end)
        memory.words[self.begin // WORD : self.end // WORD] = GUARD
        for slot in self.slots.values():
            target = view(memory.mapped, slot)
            if keep and slot.name in keep:
                target[...] = keep[slot.name]
            elif slot.name in values and slot.name not in self.fresh:
                target[...] = values[slot.name]
            else:
                memory.words[slot.offset // WORD : (slot.offset + slot.bytes) // WORD] = POISON

    def outputs(self, memory: Memory) -> dict[str, NDArray[Any]]:
        """Return copies of all outputs and in-outs."""
        return {n: view(memory.mapped, self.slots[n]).copy() for n in self.op.outputs}

    def damage(self, memory: Memory, values: Mapping[str, NDArray[Any]]) -> str:
        """Return what the call did to memory that it must not touch, or did not write; "" for nothing."""
        end = self.begin
        for slot in self.slots.values():
            band = memory.words[end // WORD : slot.offset // WORD]
            if (band != GUARD).any():
                bytes_before = (band.size - int(np.flatnonzero(band != GUARD)[-1])) * WORD
                place = f"{-(-bytes_before // slot.itemsize)} element(s) before the start of {slot.name!r}"
                return f"wrote out of bounds, {place}" + self._after(slot)
            end = slot.offset + slot.bytes
            if message := self._touched(memory, slot, values):
                return message
        band = memory.words[end // WORD : self.end // WORD]
        if (band != GUARD).any():
            where = int(np.flatnonzero(band != GUARD)[0]) * WORD // slot.itemsize + 1
            return f"wrote out of bounds, {where} element(s) past the end of {slot.name!r}"
        return ""

    def _after(self, slot: Slot) -> str:
        names = list(self.slots)
        before = names.index(slot.name) - 1
        return f" (or past the end of {names[before]!r})" if before >= 0 else ""

    def _touched(self, memory: Memory, slot: Slot, values: Mapping[str, NDArray[Any]]) -> str:
        bits = bits_of(view(memory.mapped, slot))
        if slot.role == Role.INPUT.value:
            changed = np.flatnonzero(bits != bits_of(np.ascontiguousarray(values[slot.name])))
            if changed.size:
                return f"changed its input {slot.name!r} at element {int(changed[0])} ({changed.size} in all)"
        elif slot.name in self.op.outputs:
            left = np.flatnonzero(bits == np.full(slot.itemsize // WORD, POISON).view(bits.dtype))
            if left.size:
                return f"left {left.size} of {bits.size} elements of {slot.name!r} unwritten, the first at {int(left[0])}"
        return ""
