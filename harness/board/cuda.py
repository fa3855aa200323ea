"""The board of the CUDA variants: proven in the simulator, their resources by NVIDIA's compiler, never a time without a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.gpu.builds import builds_of
from harness.gpu.nvrtc import compile_cuda, unavailable
from harness.gpu.resources import occupancy, read_resources
from registry.fingerprint import source_hash

if TYPE_CHECKING:
    from registry.records import Evidence, Store
    from registry.table import Table
    from registry.variant import Variant

__all__ = ["Footprint", "cuda_board", "footprint"]

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


def _proof(variant: Variant, proofs: dict[tuple[str, str], Evidence]) -> str:
    proof = proofs.get((variant.op.name, variant.name))
    if proof is None:
        return "not proven"
    if proof.source != source_hash(variant):
        return "stale"
    if proof.status != "passed":
        return proof.status
    return f"{proof.problems} problems, {proof.worst_over_budget:.2f} of budget"


def _numbers(variant: Variant) -> list[str]:
    """Return a cell for each of registers, spilled, shared and occupancy; of builds that differ, both."""
    found = [] if unavailable() else [footprint(variant, dtype) for dtype in variant.dtypes]
    builds = [(f"{b.registers}", f"{b.spilled}", f"{b.shared}", f"{b.occupancy:.0%}") for b in found if b]
    return [" / ".join(cell if len(set(cell)) > 1 else cell[:1]) for cell in zip(*builds, strict=True)] or [""] * 4


def cuda_board(table: Table, store: Store) -> str:
    """Return, as Markdown, every CUDA variant with its proof in the simulator and what it takes of a GPU."""
    proofs = store.newest_proofs("sim")
    variants = [v for known in table.variants.values() for v in known.values() if v.device == "cuda"]
    passed = sum(_proof(v, proofs).endswith("of budget") for v in variants)
    lines = [
        f"{len(variants)} CUDA variants; {passed} proven in the simulator, none on hardware: without a GPU no row has a time.",
        f"Registers, spilled bytes, static shared memory and occupancy are those of {ARCHITECTURE}, by NVRTC.",
        "Where the build for bfloat16 differs from that for float32, its number stands second.",
        "",
        "| op | variant | dtypes | proof in the simulator | registers | spilled | shared | occupancy |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for variant in variants:
        cells = [f"`{variant.op.name}`", f"`{variant.name}`", ", ".join(variant.dtypes), _proof(variant, proofs)]
        lines.append(f"| {' | '.join([*cells, *_numbers(variant)])} |")
    return "\n".join(lines)
