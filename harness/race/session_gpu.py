"""A session on a GPU: the same rounds, controls, statistics and records, with contestants that use CUDA.

``cuda-cold`` rotates through buffers larger than the L2 cache and reads another such buffer before each batch. A launch from
Python takes some microseconds, so a shorter call shows the time of the launch instead of its own. ``cuda-graph`` captures a
batch of calls and replays it without Python; small buffers may stay in the L2 cache. Unverified on hardware: no GPU has run a
race yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from harness.race.session import MEMORY_SHARE, Session
from registry.enums import Device

if TYPE_CHECKING:
    from harness.race.board import Board

__all__ = ["GpuSession"]


def _l2_bytes() -> int:
    import cupy

    return int(cupy.cuda.Device().attributes["L2CacheSize"])


@dataclass
class GpuSession(Session):
    """The processes and measurements that all boards of one command share, on the current GPU."""

    place: ClassVar[Device] = Device.CUDA
    module: ClassVar[str] = "harness.race.contestant_gpu"

    cache_bytes: int = field(default_factory=_l2_bytes)

    @property
    def cold_bytes(self) -> int:
        """0 under ``cuda-graph``, else the size of the L2 cache."""
        return self.cache_bytes if self.protocol == "cuda-cold" else 0

    @property
    def has_baseline(self) -> bool:
        """Whether torch sees a GPU."""
        return bool(self.torch.ask("torch_sees_gpu")["yes"])

    def is_tight(self, board: Board, sets: int, contestants: int) -> bool:
        """Whether the GPU's memory is too small to hold the buffers of all contestants at once."""
        import cupy

        free, _ = cupy.cuda.Device().mem_info
        return bool(board.nbytes() * sets * contestants > MEMORY_SHARE * free)
