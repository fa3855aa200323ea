"""The resources that the kernels of a CUDA variant take, by NVIDIA's own compiler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.cuda.builds import builds_of
from harness.cuda.nvrtc import compile_cuda
from harness.cuda.resources import occupancy, read_resources

if TYPE_CHECKING:
    from registry.variant import Variant

__all__ = ["ARCHITECTURE", "Footprint", "footprint"]

ARCHITECTURE = "sm_80"


@dataclass(frozen=True)
class Footprint:
    """What the kernels of a variant take, the largest of each.

    Attributes
    ----------
    occupancy : float
        Share of a multiprocessor's threads that can be resident, of the kernel for which it is least; dynamic shared
        memory, which the launch decides, is not counted.
    """

    kernels: int
    registers: int
    spilled: int
    shared: int
    occupancy: float


def footprint(variant: Variant, dtype: str = "float32", architecture: str = ARCHITECTURE) -> Footprint | None:
    """Return what a variant takes of a GPU where floats are stored in `dtype`; None for one without kernels of its own."""
    source = variant.path.with_suffix(".cu")
    if not source.exists():
        return None
    compiled = [compile_cuda(source, architecture, options=options) for options in builds_of(variant, dtype)]
    found = [resources for build in compiled for resources in read_resources(build).values()]
    return Footprint(
        kernels=len({r.kernel for r in found}),
        registers=max(r.registers for r in found),
        spilled=max(r.spilled for r in found),
        shared=max(r.shared for r in found),
        occupancy=min(occupancy(r) for r in found),
    )
