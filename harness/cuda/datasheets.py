"""The peaks of three GPUs by their data sheets, and the least time of a call that follows from them.

Sources: NVIDIA A100 Tensor Core GPU data sheet (80 GB SXM); NVIDIA H100 Tensor Core GPU data sheet (SXM; half of the figures
given with sparsity); NVIDIA Ada GPU architecture white paper 2.1, table of the GeForce RTX 4090 (dense, FP32 accumulation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SHEETS", "Sheet", "bound"]


@dataclass(frozen=True)
class Sheet:
    """The data sheet of one GPU.

    Attributes
    ----------
    gb_s : float
        Bandwidth of its memory, in 10^9 bytes per second.
    tflops : mapping of str to float
        Peaks by type of operation, in 10^12 operations per second.
    """

    name: str
    gb_s: float
    tflops: Mapping[str, float]


def _peaks(f32: float, f64: float, tf32: float, half: float, packed: float) -> dict[str, float]:
    packed_types = dict.fromkeys(("f16", "bf16"), packed)
    return {"f32": f32, "f64": f64, "tf32 mma": tf32, "f16 mma": half, "bf16 mma": half, **packed_types}


SHEETS = (
    Sheet("A100", 2039, _peaks(19.5, 9.7, 156, 312, 78)),
    Sheet("H100", 3350, _peaks(67, 34, 494.7, 989.4, 133.8)),
    Sheet("RTX 4090", 1008, _peaks(82.6, 1.29, 82.6, 165.2, 82.6)),
)


def bound(sheet: Sheet, nbytes: float, flops: Mapping[str, float]) -> tuple[float, str]:
    """Return the least time in microseconds and the unit that limits it: ``memory`` or a type of operation.

    All units work at the same time, so the least time is that of the slowest unit.

    Parameters
    ----------
    sheet : Sheet
    nbytes : float
        Bytes that must cross the memory bus: each argument once.
    flops : mapping of str to float
        Operations by type; a type without a peak on the data sheet counts as f32.
    """
    times = {"memory": nbytes / sheet.gb_s * 1e-3}
    for kind, count in flops.items():
        times[kind] = count / sheet.tflops.get(kind, sheet.tflops["f32"]) * 1e-6
    slowest = max(times, key=lambda unit: times[unit])
    return times[slowest], slowest
