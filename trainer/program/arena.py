"""All memory of a training run in one allocation, planned before it is allocated.

Lasting buffers have addresses of their own. Transient buffers (activations, and the arrays that one call passes to the next)
share a region: two of them may share bytes if no call needs both. The planner reads from the program which calls use a
buffer, so it decides alone, and an output never shares bytes with an input of its own call.

Activations also reuse the gradient buffers: until the backward pass writes a gradient, its bytes may hold activations whose
last use comes before that write. With one micro-step per update, activations cost almost no memory as long as they are
smaller than the gradients.

Source: greedy by size, of Y. Pisarchyk and J. Lee, Efficient Memory Management for Deep Neural Net Inference (2020),
arXiv:2001.03288.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from models.tensors import Buffer, Kind
from registry.enums import Device
from registry.errors import CrucibleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from models.tensors import View
    from registry.devices import DeviceMemory

__all__ = ["Arena", "Plan", "make_plan", "require_memory"]

ALIGNMENT = 64
MIB = 2**20


@dataclass
class Plan:
    """The place of every buffer in the arena.

    Attributes
    ----------
    offsets : dict
        First byte of each buffer in the arena.
    by_kind : dict
        Bytes of each lasting kind, padding included.
    activations, temporaries : int
        Bytes of the transient buffers without any sharing: the buffers that a backward call reads, and the others.
    shared : int
        Bytes of the transient region behind the gradients. Memory that activations reuse from gradients is not counted.
    workspace : int
        Bytes of scratch memory, which all calls use in turn.
    workspace_offset, total : int
        First byte of the workspace, and bytes of the arena.
    """

    offsets: dict[Buffer, int] = field(default_factory=dict)
    by_kind: dict[Kind, int] = field(default_factory=dict)
    activations: int = 0
    temporaries: int = 0
    shared: int = 0
    workspace: int = 0
    workspace_offset: int = 0
    total: int = 0

    @property
    def state_bytes(self) -> int:
        """Bytes of the arrays that an update changes. A checkpoint is written from a copy of them, beside the arena."""
        return sum(self.by_kind.get(kind, 0) for kind in (Kind.PARAMETERS, Kind.MASTER, Kind.MOMENTS))

    def rows(self) -> list[tuple[str, float]]:
        """Return the rows of the printed table: a name and its MiB."""
        lasting = [(kind.value, self.by_kind[kind]) for kind in Kind if kind in self.by_kind]
        saved = self.activations + self.temporaries - self.shared
        rest = [
            ("activations", self.activations),
            ("temporaries", self.temporaries),
            ("saved by reuse", -saved),
            ("workspace", self.workspace),
            ("total", self.total),
        ]
        return [(name, size / MIB) for name, size in [*lasting, *rest]]


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


Timeline: TypeAlias = "Sequence[Iterable[View]]"  # for each call, in order, the views that it reads or writes
Span = tuple[int, int, int, float]  # first byte, end, first and last call of reserved memory


def _lifetimes(timeline: Timeline) -> dict[Buffer, tuple[int, int]]:
    """Return the numbers of the first and the last call that use each transient buffer."""
    lives: dict[Buffer, tuple[int, int]] = {}
    for time, views in enumerate(timeline):
        for buffer in (view.buffer for view in views):
            if buffer.kind is Kind.TRANSIENT:
                lives[buffer] = (lives.get(buffer, (time, time))[0], time)
    return lives


def _late_gradients(timeline: Timeline, offsets: Mapping[Buffer, int]) -> list[Span]:
    """Return each part of the gradients as reserved memory, from the first call that uses it to the end."""
    first: dict[tuple[int, int], int] = {}
    for time, views in enumerate(timeline):
        for view in views:
            if view.buffer.kind is Kind.GRADIENTS:
                start, end = (offsets[view.buffer] + byte for byte in view.span)
                first.setdefault((start, end), time)
    return [(start, end, time, math.inf) for (start, end), time in first.items()]


def _place(lives: Mapping[Buffer, tuple[int, int]], first: int, reserved: Iterable[Span]) -> tuple[dict[Buffer, int], int]:
    """Give each buffer an offset, `first` or higher, that is free during its life; return the offsets and the end of them all.

    The function tries two orders: the largest buffers first, and the buffers with the latest last use first, since
    activations that live long can reuse fewer gradients.
    """
    reserved = sorted(reserved)
    largest = sorted(lives.items(), key=lambda item: (-item[0].size, -item[1][1]))
    longest = sorted(lives.items(), key=lambda item: (-item[1][1], -item[0].size))
    return min((_first_fit(order, first, reserved) for order in (largest, longest)), key=lambda placed: placed[1])


def _first_fit(
    order: Iterable[tuple[Buffer, tuple[int, int]]], first: int, reserved: Iterable[Span]
) -> tuple[dict[Buffer, int], int]:
    """Give each buffer in turn the lowest offset that is free during its life; return the offsets and the end of them all."""
    placed = list(reserved)
    offsets: dict[Buffer, int] = {}
    last = first
    for buffer, (born, dies) in order:
        size, offset = _aligned(buffer.size), first
        for start, end, other_born, other_dies in placed:
            if other_dies < born or dies < other_born:
                continue
            if offset + size <= start:
                break
            offset = max(offset, _aligned(end))
        offsets[buffer] = offset
        last = max(last, offset + size)
        insort(placed, (offset, offset + size, born, dies))
    return offsets, last


def make_plan(
    lasting: Sequence[Buffer],
    programs: Sequence[Timeline],
    backward_starts: int,
    workspace: int = 0,
    *,
    lend_gradients: bool = False,
) -> Plan:
    """Plan the arena.

    Parameters
    ----------
    lasting : sequence of Buffer
        Buffers that live as long as the run.
    programs : sequence of timelines
        For each program, the views that each of its calls uses. Programs never run at the same time, so each may use the
        whole shared region.
    backward_starts : int
        Number of the first backward call of the first program. A transient buffer that lives across it is an activation.
    workspace : int
        Largest scratch memory of a call, in bytes.
    lend_gradients : bool
        Whether activations may overwrite the gradients of the micro-step before. False if micro-steps add up gradients.
    """
    plan, end = Plan(workspace=_aligned(workspace)), 0
    for buffer in sorted(lasting, key=lambda b: (b.kind is Kind.GRADIENTS, list(Kind).index(b.kind))):
        plan.offsets[buffer] = end
        size = _aligned(buffer.size)
        plan.by_kind[buffer.kind] = plan.by_kind.get(buffer.kind, 0) + size
        end += size
    gradients = (end - plan.by_kind.get(Kind.GRADIENTS, 0), end)
    for number, timeline in enumerate(programs):
        lives = _lifetimes(timeline)
        reserved = _late_gradients(timeline, plan.offsets) if lend_gradients else [(*gradients, 0, math.inf)]
        places, last = _place(lives, gradients[0], reserved)
        plan.offsets.update(places)
        plan.shared = max(plan.shared, last - end)
        if number == 0:
            sizes = [(born < backward_starts <= dies, _aligned(b.size)) for b, (born, dies) in lives.items()]
            plan.activations = sum(size for crosses, size in sizes if crosses)
            plan.temporaries = sum(size for crosses, size in sizes if not crosses)
    plan.workspace_offset = end + plan.shared
    plan.total = plan.workspace_offset + plan.workspace
    return plan


def require_memory(plan: Plan, device: DeviceMemory, processes: int = 1, beside: int = 0) -> None:
    """Raise an error unless the device has free memory for the plan.

    The system may grant more memory than there is and end the process later, so an allocation that succeeds is no proof.

    Parameters
    ----------
    processes : int
        Number of processes that allocate the plan on this machine. Each process with a GPU has one of its own.
    beside : int
        Bytes that one of the processes allocates beside its arena.

    Raises
    ------
    CrucibleError
        The device has less free memory than the plan needs.
    """
    count = 1 if device.kind == Device.CUDA else processes
    free = device.free_bytes()
    if plan.total * count + beside > free:
        raise _too_large(plan, free, count, beside)


def _too_large(plan: Plan, free: int, count: int = 1, beside: int = 0) -> CrucibleError:
    each = f" for each of {count} processes" if count > 1 else ""
    each += f" and {beside / MIB:,.0f} MiB for checkpoints" if beside else ""
    return CrucibleError(
        f"the run needs {plan.total / MIB:,.0f} MiB of memory{each}, {free / MIB:,.0f} MiB are free; "
        "choose a smaller --model, --batch or --sequence"
    )


class Arena:
    """The allocated memory of a plan.

    Raises
    ------
    CrucibleError
        The device has less free memory than the plan needs.
    """

    def __init__(self, plan: Plan, device: DeviceMemory) -> None:
        self.plan = plan
        require_memory(plan, device)
        try:
            self._bytes = device.empty((plan.total,), np.uint8)
        except MemoryError as error:  # another process took the memory
            raise _too_large(plan, device.free_bytes()) from error

    def array(self, view: Buffer | View) -> NDArray[Any]:
        """Return the array of a buffer or of a part of it."""
        buffer = view if isinstance(view, Buffer) else view.buffer
        first = self.plan.offsets[buffer]
        whole = self._bytes[first : first + buffer.size].view(buffer.dtype)
        if isinstance(view, Buffer):
            return whole.reshape(buffer.shape)
        return whole[view.start : view.start + view.size].reshape(view.shape)

    def workspace(self) -> NDArray[np.float32]:
        """Return the scratch memory."""
        start = self.plan.workspace_offset
        return self._bytes[start : start + self.plan.workspace].view(np.float32)
