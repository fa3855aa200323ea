"""The board of the CUDA variants: proven in the simulator, their resources by NVIDIA's compiler, never a time without a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cuda.footprint import ARCHITECTURE, footprint
from harness.cuda.nvrtc import unavailable
from registry.fingerprint import source_hash

if TYPE_CHECKING:
    from registry.records import Evidence, Store
    from registry.table import Table
    from registry.variant import Variant

__all__ = ["cuda_board"]


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
