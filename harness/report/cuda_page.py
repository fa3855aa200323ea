"""The board of the CUDA variants: proofs in the simulator and resources by NVIDIA's compiler; a time needs a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cuda.footprint import ARCHITECTURE, footprint
from harness.cuda.nvrtc import unavailable
from harness.report.proof_text import passed_proof, proof_text
from registry.enums import Device

if TYPE_CHECKING:
    from registry.records import Store
    from registry.table import Table
    from registry.variant import Variant

__all__ = ["cuda_board"]


def _numbers(variant: Variant) -> list[str]:
    """Return the cells of registers, spilled, shared and occupancy; a cell has two numbers where two builds differ."""
    footprints = [] if unavailable() else [footprint(variant, dtype) for dtype in variant.dtypes]
    builds = [(f"{b.registers}", f"{b.spilled}", f"{b.shared}", f"{b.occupancy:.0%}") for b in footprints if b]
    return [" / ".join(cell if len(set(cell)) > 1 else cell[:1]) for cell in zip(*builds, strict=True)] or [""] * 4


def cuda_board(table: Table, store: Store) -> str:
    """Return, as Markdown, every CUDA variant with its proof in the simulator and the resources that it takes of a GPU."""
    proofs = store.newest_proofs(Device.SIM)
    variants = [v for known in table.variants.values() for v in known.values() if v.device == Device.CUDA]
    passed = sum(passed_proof(v, proofs) is not None for v in variants)
    lines = [
        f"{len(variants)} CUDA variants; {passed} proven in the simulator, none on hardware: without a GPU no row has a time.",
        f"Registers, spilled bytes, static shared memory and occupancy are those of {ARCHITECTURE}, by NVRTC.",
        "If the builds for float32 and bfloat16 differ, the second number is for bfloat16.",
        "",
        "| op | variant | dtypes | proof in the simulator | registers | spilled | shared | occupancy |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for variant in variants:
        cells = [f"`{variant.op.name}`", f"`{variant.name}`", ", ".join(variant.dtypes), proof_text(variant, proofs)]
        lines.append(f"| {' | '.join([*cells, *_numbers(variant)])} |")
    return "\n".join(lines)
