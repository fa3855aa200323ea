"""The memory of one call: arrays between guard bands, and poison in outputs and scratch memory.

All buffers of a call are in one memory that parent and worker share. The parent fills the memory, the worker calls the variant
on views of it, and the parent compares the results, so that it need not trust any report of the worker. Every byte that belongs
to no array is part of a guard band and is compared after every call.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.op import Role
from registry.problem import ALIGNMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from registry.op import Op
    from registry.problem import Problem

__all__ = ["FINITE", "NAN", "STALE", "Buffers", "Memory", "Slot", "bits_of", "fresh_inouts", "view"]

ALIGNMENT = 64
GUARD_BYTES = 1024  # at least, between two arrays
MARGIN = 5 << 18  # bytes of guards before the first array and after the last one
STEP = 1 << 16  # bytes; a memory's size is a multiple of it
# Signalling NaNs: a sum with one of them is NaN, and arithmetic returns other bits. Two equal words are a signalling NaN in
# float32 too.
GUARD, POISON = np.uint16(0x7FA1), np.uint16(0x7FA2)
WORD = 2
FIRST_BYTES = 1 << 22
# Contents, before a call, of outputs, workspaces and in-outs that the call must not read. A kernel that clears scratch memory
# only where it holds NaN, or that uses the results of its last call, is right with one of the contents and wrong with another.
NAN, FINITE, STALE = "nan", "finite", "stale"
# Finite numbers between 2**-7 and 2**8, of either sign, in bfloat16 and (two words) in float32.
_words = np.random.default_rng(0).integers(0, (2, 15, 128), size=(65521, 3)) + np.array([0, 120, 0])
NUMBERS = (_words @ (1 << 15, 1 << 7, 1)).astype(np.uint16)

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Memory:
    """Anonymous memory that a child process can map too; it grows when a call needs more.

    Attributes
    ----------
    lent : list of slice or None
        The words without guards, which the arrays of the last call occupy; None if a call may have written anywhere.
    """

    def __init__(self) -> None:
        self.file = os.memfd_create("crucible")
        self.size = 0
        self.lent: list[slice] | None = None
        self._map: mmap.mmap | None = None
        self.grow(FIRST_BYTES)

    def grow(self, size: int) -> None:
        """Make the memory at least `size` bytes large."""
        if size > self.size:
            self.size = 1 << (size - 1).bit_length()
            os.ftruncate(self.file, self.size)
            self._map = mmap.mmap(self.file, self.size)
            self.lent = None

    def guard(self) -> None:
        """Make every word a guard."""
        words = self.words
        for span in self.lent if self.lent is not None else [slice(None)]:
            words[span] = GUARD

    def unguarded(self, start: int, stop: int) -> NDArray[Any]:
        """Return the positions, counted from `start`, of the words that hold no guard."""
        words = self.words[start:stop]
        address = words.ctypes.data
        # All words are guards if the first one is, and each word equals the next: a comparison without a temporary array.
        if not words.size or (words[0] == GUARD and not _memcmp(address, address + WORD, words.nbytes - WORD)):
            return np.empty(0, np.int64)
        return np.flatnonzero(words != GUARD)

    @property
    def words(self) -> NDArray[Any]:
        """The memory as 16-bit words."""
        return np.frombuffer(self.mapped, np.uint16)

    @property
    def mapped(self) -> mmap.mmap:
        """The mapping of the memory."""
        if self._map is None:
            raise ValueError("this memory is closed")
        return self._map

    def close(self) -> None:
        """Close the memory; it is freed with its last view."""
        if self._map is not None:
            self._map = None
            os.close(self.file)


@dataclass(frozen=True)
class Slot:
    """The place of one array of a call: its byte offset in the memory, shape, dtype and role."""

    name: str
    offset: int
    shape: tuple[int, ...]
    dtype: str
    role: str

    @property
    def bytes(self) -> int:
        """The size in bytes."""
        return math.prod(self.shape) * self.itemsize

    @property
    def itemsize(self) -> int:
        """The size of one element in bytes."""
        return np.dtype(self.dtype).itemsize

    @property
    def words(self) -> slice:
        """The 16-bit words of the memory that the array occupies."""
        return slice(self.offset // WORD, (self.offset + self.bytes) // WORD)


def view(memory: mmap.mmap | memoryview, slot: Slot) -> NDArray[Any]:
    """Return the array at `slot`."""
    return np.ndarray(slot.shape, slot.dtype, memory, slot.offset)


def bits_of(array: NDArray[Any]) -> NDArray[Any]:
    """Return the elements of a contiguous array as unsigned integers, in one dimension."""
    return array.reshape(-1).view(f"uint{8 * array.dtype.itemsize}")


def fresh_inouts(op: Op, params: Mapping[str, Any]) -> set[str]:
    """Return the in-outs that this call must write without reading: their ``accumulate`` parameter is False.

    ``accumulate`` is the parameter of all in-outs, ``accumulate_wte`` of ``dwte`` alone.
    """
    inouts = {a.name for a in op.with_role(Role.INOUT)}
    fresh = set()
    for name, value in params.items():
        if name.startswith("accumulate") and not value:
            suffix = name.removeprefix("accumulate").lstrip("_")
            fresh |= {n for n in inouts if n.endswith(suffix)}
    return fresh


class Buffers:
    """The layout of one call's arrays.

    Parameters
    ----------
    op : Op
    problem : Problem
    workspace : int, optional
        Number of float32 elements of scratch memory, which may be 0; None for a variant without scratch memory.
    shift : int
        Bytes by which all arrays are moved, a multiple of 64.
    """

    def __init__(self, op: Op, problem: Problem, workspace: int | None = None, shift: int = 0) -> None:
        self.op, self.problem = op, problem
        self.fresh = fresh_inouts(op, problem.params)
        self.slots: dict[str, Slot] = {}
        end = MARGIN + shift
        kinds = [(a.name, a.shape(problem.dims), a.numpy_dtype(problem.dtype).name, a.role.value) for a in op.arguments]
        if workspace is not None:
            kinds.append(("workspace", (workspace,), "float32", "workspace"))
        for name, shape, dtype, role in kinds:
            offset = -(-(end + GUARD_BYTES) // ALIGNMENT) * ALIGNMENT
            if problem.alignment != ALIGNMENTS[0]:
                offset += np.dtype(dtype).itemsize
            self.slots[name] = Slot(name, offset, shape, dtype, role)
            end = offset + self.slots[name].bytes
        self.size = -(-(end + MARGIN) // STEP) * STEP
        self._before = NAN

    def fill(self, memory: Memory, values: Mapping[str, NDArray[Any]], before: str = NAN) -> None:
        """Write guards, inputs and the contents of the other arrays before the call.

        Parameters
        ----------
        before : {"nan", "finite", "stale"}
            The contents of outputs, workspaces and in-outs that the call must not read: signalling NaN; finite numbers, which
            the problem's seed chooses; or the data of earlier calls, unchanged.
        """
        self._before = before
        memory.grow(self.size)
        words = memory.words
        written = {n for n in self.slots if n in values and n not in self.fresh}
        left = {n: words[s.words].copy() for n, s in self.slots.items() if before == STALE and n not in written}
        memory.guard()
        for name, slot in self.slots.items():
            if name in written:
                view(memory.mapped, slot)[...] = values[name]
            elif before == STALE:
                words[slot.words] = left[name]
            elif before == FINITE:
                numbers = np.roll(NUMBERS, -(self.problem.seed + slot.offset) % NUMBERS.size)
                words[slot.words] = np.resize(numbers, slot.bytes // WORD)
            else:
                words[slot.words] = POISON
        memory.lent = None  # until `damage` finds that the call wrote to its arrays alone

    def outputs(self, memory: Memory) -> dict[str, NDArray[Any]]:
        """Return copies of all outputs and in-outs."""
        return {n: view(memory.mapped, self.slots[n]).copy() for n in self.op.outputs}

    def damage(self, memory: Memory, values: Mapping[str, NDArray[Any]]) -> str:
        """Return a message about guards or inputs that the call changed, or outputs that it left unwritten; "" if none."""
        end = 0
        for slot in self.slots.values():
            hit = memory.unguarded(end // WORD, slot.offset // WORD)
            if hit.size:
                bytes_before = slot.offset - end - int(hit[-1]) * WORD
                place = f"{-(-bytes_before // slot.itemsize)} element(s) before the start of {slot.name!r}"
                return f"wrote out of bounds, {place}" + self._after(slot)
            end = slot.offset + slot.bytes
        hit = memory.unguarded(end // WORD, self.size // WORD)
        if hit.size:
            where = int(hit[0]) * WORD // slot.itemsize + 1
            return f"wrote out of bounds, {where} element(s) past the end of {slot.name!r}"
        memory.lent = [slot.words for slot in self.slots.values()]
        return next(filter(None, (self._touched(memory, slot, values) for slot in self.slots.values())), "")

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
        elif slot.name in self.op.outputs and self._before == NAN:
            left = np.flatnonzero(bits == np.full(slot.itemsize // WORD, POISON).view(bits.dtype))
            if left.size:
                return f"left {left.size} of {bits.size} elements of {slot.name!r} unwritten, the first at {int(left[0])}"
        return ""
