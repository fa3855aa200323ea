"""The facts of a kernel that every launch needs; the whole kernel is loaded only for a finding or for counters."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.ptx.model import BITS

if TYPE_CHECKING:
    from simulator.codegen.translate import Translation
    from simulator.interface.warp_state import StateLayout
    from simulator.ptx.model import Block, Instruction, Kernel, Signature
    from simulator.variables import KernelMemory

__all__ = ["Facts", "facts_of"]

_ACCESSES = {"ld", "ldu", "st", "atom", "red"}


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a kernel, translated for one mode, that a launch without findings needs.

    Attributes
    ----------
    memory
        The places of its variables.
    digests
        Of the texts to compile.
    state, state_bytes
        Of one warp.
    blocks
        Of each basic block: the block that lanes go to if they take the branch at its end, that where others go, its priority.
    block_lengths
        Instructions in each basic block.
    prints, copies
        Whether it calls printf, and has asynchronous copies.
    narrowest_access
        Bytes of the narrowest element it reads or writes in device or shared memory, at most 4.
    """

    signature: Signature
    checked: bool
    memory: KernelMemory
    digests: tuple[str, ...]
    state: StateLayout
    state_bytes: int
    blocks: tuple[tuple[int, int, int], ...]
    block_lengths: tuple[int, ...]
    prints: bool
    copies: bool
    narrowest_access: int

    @property
    def instructions(self) -> int:
        """Return how many instructions the kernel has."""
        return sum(self.block_lengths)


def facts_of(kernel: Kernel, memory: KernelMemory, translation: Translation) -> Facts:
    """Return the facts that launches need."""
    return Facts(
        signature=kernel.signature,
        checked=translation.checked,
        memory=memory,
        digests=tuple(hashlib.sha256(text.encode()).hexdigest() for text in translation.texts),
        state=translation.layout,
        state_bytes=translation.state_bytes,
        blocks=tuple(_leads(block) for block in kernel.blocks),
        block_lengths=tuple(len(block.instructions) for block in kernel.blocks),
        prints=any(i.name == "call" and "vprintf" in i.text for i in kernel.instructions),
        copies=any(i.name == "cp" for i in kernel.instructions),
        narrowest_access=min([4, *(BITS[i.type] // 8 for i in kernel.instructions if _is_access(i))]),
    )


def _leads(block: Block) -> tuple[int, int, int]:
    ways = block.successors or (block.index,)  # the kernel's end leads nowhere
    return ways[0], ways[-1], block.priority


def _is_access(instruction: Instruction) -> bool:
    return instruction.name in _ACCESSES and instruction.space not in {"param", "local"} and bool(instruction.type)
