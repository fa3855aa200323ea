"""The resources that the kernels of a CUDA variant take, as NVIDIA's compiler reports them."""

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
    """The resources of a variant: for each resource, the largest amount that one of its kernels takes.

    Attributes
    ----------
    architecture : str
        The architecture for which the kernels were compiled, such as ``"sm_80"``.
    occupancy : float
        The smallest occupancy of the kernels. Dynamic shared memory is not counted, since the launch decides its size.
    """

    kernels: int
    registers: int
    spilled: int
    shared: int
    occupancy: float
    architecture: str = ARCHITECTURE


def footprint(variant: Variant, dtype: str = "float32", architecture: str = ARCHITECTURE) -> Footprint | None:
    """Return the resources of a variant that stores floats in `dtype`; None for a variant without kernels of its own."""
    source = variant.path.with_suffix(".cu")
    if not source.exists():
        return None
    compiled = [compile_cuda(source, architecture, options=options) for options in builds_of(variant, dtype)]
    kernels = [resources for build in compiled for resources in read_resources(build).values()]
    return Footprint(
        kernels=len({r.kernel for r in kernels}),
        registers=max(r.registers for r in kernels),
        spilled=max(r.spilled for r in kernels),
        shared=max(r.shared for r in kernels),
        occupancy=min(occupancy(r) for r in kernels),
        architecture=architecture,
    )
