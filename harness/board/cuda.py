"""The board of the CUDA variants: proven in the simulator, their resources by NVIDIA's compiler, never a time without a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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


def footprint(variant: Variant, architecture: str = ARCHITECTURE) -> Footprint | None:
    """Return what a variant takes of a GPU; None for one that has no kernels of its own."""
    source = variant.path.with_suffix(".cu")
    if not source.exists():
        return None
    found = read_resources(compile_cuda(source, architecture)).values()
    return Footprint(
        kernels=len(found),
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


def cuda_board(table: Table, store: Store) -> str:
    """Return, as Markdown, every CUDA variant with its proof in the simulator and what it takes of a GPU."""
    proofs = {(e.op, e.variant): e for e in store.evidence() if e.device == "sim"}
    variants = [v for known in table.variants.values() for v in known.values() if v.device == "cuda"]
    passed = sum(_proof(v, proofs).endswith("of budget") for v in variants)
    lines = [
        f"{len(variants)} CUDA variants; {passed} proven in the simulator, none on hardware: without a GPU no row has a time.",
        f"Registers, spilled bytes, static shared memory and occupancy are those of {ARCHITECTURE}, by NVRTC.",
        "",
        "| op | variant | proof in the simulator | registers | spilled | shared | occupancy |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for variant in variants:
        taken = None if unavailable() else footprint(variant)
        numbers = f"{taken.registers} | {taken.spilled} | {taken.shared} | {taken.occupancy:.0%}" if taken else " | | | "
        lines.append(f"| `{variant.op.name}` | `{variant.name}` | {_proof(variant, proofs)} | {numbers} |")
    return "\n".join(lines)
