"""The buffers of one contestant: several sets of arguments, refreshed before each timed call.

The race draws the values once and writes them to files, from which every contestant copies. Each set has its own values and
its own addresses. Before a call, the outputs are poisoned, the in-outs are restored, and a few elements of the inputs are
replaced by other elements of the same array. Therefore outputs that a variant cached in an earlier call are wrong.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.proof.sandbox.buffers import bits_of
from registry.devices import Cpu
from registry.dtypes import BFLOAT16
from registry.op import Role

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from registry.devices import DeviceMemory
    from registry.op import Op

__all__ = ["BufferSets", "altered", "load_array", "load_pristine", "sample_of", "write_pristine"]

PAGE, LINE = 4096, 64
ALTERED_ELEMENTS = 4
SAMPLE_BLOCK, SAMPLE_LIMIT = 4096, 1 << 20
CPU_MEMORY = Cpu()
UNNAMED = np.dtype("V2")

Arrays = dict[str, "NDArray[Any]"]


def write_pristine(folder: Path, number: int, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write one set of drawn arguments to `folder`."""
    for name, array in arrays.items():
        np.save(folder / f"{number}.{name}.npy", array)


def load_array(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """Return an array that `numpy.save` wrote, read-only if `mapped`, as bfloat16 where numpy stored two bytes of no dtype."""
    array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None)
    return array.view(BFLOAT16) if array.dtype == UNNAMED else array


def load_pristine(folder: Path, number: int, op: Op) -> Arrays:
    """Return one set of drawn arguments, read-only."""
    drawn = op.with_role(Role.INPUT, Role.INOUT)
    return {a.name: load_array(folder / f"{number}.{a.name}.npy", mapped=True) for a in drawn}


def _alterable(op: Op) -> list[str]:
    """Return the inputs that may change although the forward pass saved values which depend on the other inputs."""
    names = [a.name for a in op.with_role(Role.INPUT)]
    if op.saved is None:
        return names
    parameters = inspect.signature(op.saved).parameters.values()
    read = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    if not read:
        return names[:1]
    return [n for n in names if n not in read][:1]


def altered(op: Op, arrays: Mapping[str, NDArray[Any]], seed: tuple[int, ...]) -> list[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Return the changes to the inputs of one call, as (argument, flat positions, new values)."""
    rng = np.random.default_rng(seed)
    changes = []
    for name in _alterable(op):
        array = arrays[name].reshape(-1)
        if array.size > 1:
            where, source = rng.integers(array.size, size=(2, ALTERED_ELEMENTS))
            changes.append((name, where, array[source]))
    return changes


def sample_of(array: NDArray[Any], seed: tuple[int, ...]) -> NDArray[Any]:
    """Return a copy of `array`, or of randomly chosen blocks of a large array."""
    flat = array.reshape(-1)
    if flat.size <= SAMPLE_LIMIT:
        return flat.copy()
    starts = np.random.default_rng(seed).integers(flat.size - SAMPLE_BLOCK, size=SAMPLE_LIMIT // SAMPLE_BLOCK)
    blocks: NDArray[Any] = flat[(starts[:, None] + np.arange(SAMPLE_BLOCK)).reshape(-1)]
    return blocks


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator, device: DeviceMemory) -> NDArray[Any]:
    """Return an array that begins at a random cache line of a page, so that the arrays of a call share no cache sets."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    start = LINE * int(rng.integers(PAGE // LINE))
    return device.empty((size + PAGE,), np.uint8)[start : start + size].view(dtype).reshape(shape)


def _set_elements(array: NDArray[Any], where: NDArray[Any], values: NDArray[Any]) -> None:
    """Set a few elements one by one, as integers of the same bits: this works for every device and dtype."""
    flat = bits_of(array)
    for position, value in zip(where.tolist(), bits_of(values).tolist(), strict=True):
        flat[position] = value


class BufferSets:
    """Sets of arguments for calls of one op.

    Parameters
    ----------
    folder : Path
        The folder to which `write_pristine` wrote the values.
    count : int
        Number of sets in the folder.
    heat : int
        Seeds the addresses: another heat of the race uses other addresses.
    device : DeviceMemory
        The device of the buffers.
    """

    def __init__(
        self,
        op: Op,
        dims: Mapping[str, int],
        dtype: str,
        folder: Path,
        count: int,
        heat: int = 0,
        device: DeviceMemory = CPU_MEMORY,
    ) -> None:
        self.op, self.device = op, device
        self.pristine = [load_pristine(folder, number, op) for number in range(count)]
        self.sets: list[Arrays] = []
        self._undo: list[list[tuple[str, NDArray[Any], NDArray[Any]]]] = [[] for _ in range(count)]
        for number in range(count):
            rng = np.random.default_rng((number, heat))
            arrays = {a.name: _empty(a.shape(dims), a.numpy_dtype(dtype), rng, device) for a in op.arguments}
            for name, values in self.pristine[number].items():
                device.put(arrays[name], values)
            self.sets.append(arrays)

    def __len__(self) -> int:
        return len(self.sets)

    def freshen(self, number: int, seed: tuple[int, ...]) -> None:
        """Poison the outputs of a set, restore its in-outs, and change some elements of its inputs."""
        arrays, pristine = self.sets[number], self.pristine[number]
        for name, where, values in self._undo[number]:
            _set_elements(arrays[name], where, values)
        for argument in self.op.with_role(Role.OUTPUT):
            array = arrays[argument.name]
            array.view(f"int{8 * array.itemsize}").fill(-1)  # these bits are NaN in every float dtype
        for argument in self.op.with_role(Role.INOUT):
            self.device.put(arrays[argument.name], pristine[argument.name])
        changes = altered(self.op, pristine, seed)
        self._undo[number] = [(name, where, pristine[name].reshape(-1)[where]) for name, where, _ in changes]
        for name, where, values in changes:
            _set_elements(arrays[name], where, values)
