"""All memory of a training run in one allocation, planned before it is made.

Buffers that live as long as the run stand one after the other. Transient ones (activations, and whatever one call leaves
for the next) share a region: two of them may share bytes if no call needs both. Which calls need a buffer is read off the
program, so nobody decides by hand what to reuse, and an output can never share bytes with an input of its own call.

Gradients lend their memory too. Before the backward pass writes a tensor's gradient, its bytes hold activations; by the
time the gradient comes, those are used up. Where every batch makes an update, activations thus cost almost nothing as long
as they are smaller than the gradients.

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
from registry.errors import CrucibleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from models.tensors import View
    from registry.devices import Device

__all__ = ["Arena", "Plan", "make_plan"]

ALIGNMENT = 64
MIB = 2**20


@dataclass
class Plan:
    """Where every buffer lies.

    Attributes
    ----------
    offsets : dict
        First byte of each buffer in the arena.
    by_kind : dict
        Bytes of each lasting kind, padding included.
    activations, temporaries : int
        Bytes of the transient buffers if none shared any, by whether the backward pass needs what the forward left.
    shared : int
        Bytes of the region that they share, behind the gradients and beyond what those lend them.
    workspace : int
        Bytes of scratch memory, one piece for all calls.
    """

    offsets: dict[Buffer, int] = field(default_factory=dict)
    by_kind: dict[Kind, int] = field(default_factory=dict)
    activations: int = 0
    temporaries: int = 0
    shared: int = 0
    workspace: int = 0
    workspace_offset: int = 0
    total: int = 0

    def rows(self) -> list[tuple[str, float]]:
        """Return the printed table: what, and its MiB."""
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


Timeline: TypeAlias = "Sequence[Iterable[View]]"  # per call, in order, what it touches
Span = tuple[int, int, int, float]  # bytes from and to, first and last call: what is taken, and when


def _lifetimes(timeline: Timeline) -> dict[Buffer, tuple[int, int]]:
    """Return, per transient buffer, the numbers of the first and the last call that touch it."""
    lives: dict[Buffer, tuple[int, int]] = {}
    for time, views in enumerate(timeline):
        for buffer in (view.buffer for view in views):
            if buffer.kind is Kind.TRANSIENT:
                lives[buffer] = (lives.get(buffer, (time, time))[0], time)
    return lives


def _late_gradients(timeline: Timeline, offsets: Mapping[Buffer, int]) -> list[Span]:
    """Return each part of the gradients, taken from the first call that touches it."""
    first: dict[tuple[int, int], int] = {}
    for time, views in enumerate(timeline):
        for view in views:
            if view.buffer.kind is Kind.GRADIENTS:
                start, end = (offsets[view.buffer] + byte for byte in view.span)
                first.setdefault((start, end), time)
    return [(start, end, time, math.inf) for (start, end), time in first.items()]


def _place(lives: Mapping[Buffer, tuple[int, int]], first: int, taken: Iterable[Span]) -> tuple[dict[Buffer, int], int]:
    """Give each buffer an offset, `first` or higher, that is free during its life; return them and the end of all.

    Two orders are tried: the largest first, and those that die last first, as fewer gradients can make room for them.
    """
    taken = sorted(taken)
    largest = sorted(lives.items(), key=lambda item: (-item[0].size, -item[1][1]))
    longest = sorted(lives.items(), key=lambda item: (-item[1][1], -item[0].size))
    return min((_first_fit(order, first, taken) for order in (largest, longest)), key=lambda placed: placed[1])


def _first_fit(
    order: Iterable[tuple[Buffer, tuple[int, int]]], first: int, taken: Iterable[Span]
) -> tuple[dict[Buffer, int], int]:
    """Give each buffer in turn the lowest offset that is free during its life; return them and the end of all."""
    placed = list(taken)
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
        Per program, the views that each of its calls touches. Programs never run at the same time, so each may use the
        whole shared region.
    backward_starts : int
        Number of the first backward call of the first program: what lives across it is an activation.
    workspace : int
        Bytes of scratch memory of the neediest call.
    lend_gradients : bool
        Whether a program may begin by overwriting the gradients of the one before. Not so if gradients are added up.
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
        taken = _late_gradients(timeline, plan.offsets) if lend_gradients else [(*gradients, 0, math.inf)]
        places, last = _place(lives, gradients[0], taken)
        plan.offsets.update(places)
        plan.shared = max(plan.shared, last - end)
        if number == 0:
            sizes = [(born < backward_starts <= dies, _aligned(b.size)) for b, (born, dies) in lives.items()]
            plan.activations = sum(size for crosses, size in sizes if crosses)
            plan.temporaries = sum(size for crosses, size in sizes if not crosses)
    plan.workspace_offset = end + plan.shared
    plan.total = plan.workspace_offset + plan.workspace
    return plan


class Arena:
    """The planned memory, allocated.

    Raises
    ------
    CrucibleError
        The machine does not have that much.
    """

    def __init__(self, plan: Plan, device: Device) -> None:
        self.plan = plan
        try:
            self._bytes = device.empty((plan.total,), np.uint8)
        except MemoryError as error:
            raise CrucibleError(
                f"cannot allocate {plan.total / MIB:.0f} MiB; choose a smaller --model, --batch or --sequence"
            ) from error

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
