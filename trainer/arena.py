"""All memory of a training run in one allocation, planned before it is made.

Buffers that live as long as the run stand one after the other. Transient ones (activations, and whatever one call leaves
for the next) share a region: two of them may share bytes if no call needs both. Which calls need a buffer is read off the
program, so nobody decides by hand what to reuse, and an output can never share bytes with an input of its own call.

Source: greedy by size, of Y. Pisarchyk and J. Lee, Efficient Memory Management for Deep Neural Net Inference (2020),
arXiv:2001.03288.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import CrucibleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from registry.devices import Device

__all__ = ["Arena", "Buffer", "Kind", "Plan", "View", "make_plan"]

ALIGNMENT = 64
MIB = 2**20


class Kind(Enum):
    """What a buffer is for; only transient ones share bytes."""

    PARAMETERS = "parameters"
    GRADIENTS = "gradients"
    MOMENTS = "moments"
    BATCH = "batch and constants"
    TRANSIENT = "transient"


@dataclass(frozen=True, eq=False)
class Buffer:
    """A named array that the plan will place."""

    name: str
    shape: tuple[int, ...]
    kind: Kind = Kind.TRANSIENT
    dtype: str = "float32"

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def whole(self) -> View:
        """All of it."""
        return View(self, self.shape)


@dataclass(frozen=True)
class View:
    """A part of a buffer as an array: `shape`, from element number `start` on."""

    buffer: Buffer
    shape: tuple[int, ...]
    start: int = 0

    def layer(self, index: int) -> View:
        """Return entry `index` of the first axis."""
        shape = self.shape[1:]
        return View(self.buffer, shape, self.start + index * math.prod(shape))

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


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
        Bytes of the region that they share.
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


def _lifetimes(timeline: Sequence[Iterable[Buffer]]) -> dict[Buffer, tuple[int, int]]:
    """Return, per transient buffer, the numbers of the first and the last call that touch it."""
    lives: dict[Buffer, tuple[int, int]] = {}
    for time, buffers in enumerate(timeline):
        for buffer in buffers:
            if buffer.kind is Kind.TRANSIENT:
                lives[buffer] = (lives.get(buffer, (time, time))[0], time)
    return lives


def _place(lives: Mapping[Buffer, tuple[int, int]]) -> tuple[dict[Buffer, int], int]:
    """Give each buffer, the largest first, the lowest offset free during its life; return offsets and the size needed."""
    placed: list[tuple[int, int, int, int]] = []
    offsets: dict[Buffer, int] = {}
    for buffer, (born, dies) in sorted(lives.items(), key=lambda item: -item[0].size):
        size, offset = _aligned(buffer.size), 0
        for start, end, other_born, other_dies in sorted(placed):
            if other_dies < born or dies < other_born:
                continue
            if offset + size <= start:
                break
            offset = max(offset, end)
        offsets[buffer] = offset
        placed.append((offset, offset + size, born, dies))
    return offsets, max((end for _, end, _, _ in placed), default=0)


def make_plan(
    lasting: Sequence[Buffer], programs: Sequence[Sequence[Iterable[Buffer]]], backward_starts: int, workspace: int = 0
) -> Plan:
    """Plan the arena.

    Parameters
    ----------
    lasting : sequence of Buffer
        Buffers that live as long as the run.
    programs : sequence of timelines
        Per program, the buffers that each of its calls touches. Programs never run at the same time, so each may use the
        whole shared region.
    backward_starts : int
        Number of the first backward call of the first program: what lives across it is an activation.
    workspace : int
        Bytes of scratch memory of the neediest call.
    """
    plan, offset = Plan(workspace=_aligned(workspace)), 0
    for buffer in sorted(lasting, key=lambda b: list(Kind).index(b.kind)):
        plan.offsets[buffer] = offset
        size = _aligned(buffer.size)
        plan.by_kind[buffer.kind] = plan.by_kind.get(buffer.kind, 0) + size
        offset += size
    for number, timeline in enumerate(programs):
        lives = _lifetimes(timeline)
        places, size = _place(lives)
        plan.shared = max(plan.shared, size)
        plan.offsets.update({buffer: offset + place for buffer, place in places.items()})
        if number == 0:
            sizes = [(born < backward_starts <= dies, _aligned(b.size)) for b, (born, dies) in lives.items()]
            plan.activations = sum(size for crosses, size in sizes if crosses)
            plan.temporaries = sum(size for crosses, size in sizes if not crosses)
    plan.workspace_offset = offset + plan.shared
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
