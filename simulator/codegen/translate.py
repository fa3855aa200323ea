"""A kernel as LLVM IR text: every opcode to its family's translator, every basic block to a function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.codegen import async_copy, calls, compare, convert, floating, integer, memory, tensor_core, warp
from simulator.codegen.control import emit_block
from simulator.codegen.warp_emitter import WarpEmitter, refuse
from simulator.errors import UnsupportedInstruction
from simulator.interface.warp_state import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.codegen.warp_emitter import Place
    from simulator.interface.warp_state import StateLayout
    from simulator.ptx.model import Instruction, Kernel

__all__ = ["Translation", "translate"]

_FAMILIES: dict[str, Callable[[WarpEmitter, Instruction], None]] = {
    **floating.TRANSLATORS,
    **integer.TRANSLATORS,
    **convert.TRANSLATORS,
    **compare.TRANSLATORS,
    **memory.TRANSLATORS,
    **warp.TRANSLATORS,
    **tensor_core.TRANSLATORS,
    **async_copy.TRANSLATORS,
    **calls.TRANSLATORS,
}
_NEVER = {"tensor", "multimem", "mbarrier", "bulk", "cluster"}


@dataclass(frozen=True, slots=True)
class Translation:
    """The LLVM IR of a kernel and of the functions that it calls, and the layout of its states for the launcher."""

    texts: tuple[str, ...]
    layout: StateLayout
    state_bytes: int
    checked: bool


def _translate_instruction(emitter: WarpEmitter, instruction: Instruction) -> None:
    name = instruction.name
    if _NEVER & {part for word in instruction.opcode[1:] for part in word.split("::")}:
        raise refuse(instruction)
    if instruction.type in floating.FLOAT_TYPES and name in floating.TRANSLATORS:
        floating.TRANSLATORS[name](emitter, instruction)
        return
    family = _FAMILIES.get(name)
    if family is None:
        raise refuse(instruction)
    try:
        family(emitter, instruction)
    except UnsupportedInstruction as error:
        raise (
            error if error.where else UnsupportedInstruction(f"{error.feature} in {instruction.text!r}", instruction.where)
        ) from None
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise refuse(instruction, str(error)) from error


def translate(kernel: Kernel, symbols: dict[str, Place], *, checked: bool, native: bool) -> Translation:
    """Return the LLVM IR of a kernel.

    Raises
    ------
    UnsupportedInstruction
        At the first instruction that is not simulated, with its place in the source.
    """
    emitter = WarpEmitter(kernel, symbols, checked=checked, native=native)

    def one(instruction: Instruction) -> None:
        _translate_instruction(emitter, instruction)

    functions = [emit_block(emitter, block, one) for block in kernel.blocks]
    addresses = ", ".join(f"ptr @block_{block.index}" for block in kernel.blocks)
    functions.append(f"@{FUNCTIONS} = constant [{len(kernel.blocks)} x ptr] [{addresses}]")
    declarations = [text for _, text in sorted(emitter.declarations.items())]
    text = "\n".join([*declarations, *functions, ""])
    helpers = [text for _, text in sorted(emitter.helpers.items())]
    return Translation((text, *helpers), emitter.layout, emitter.file.end, checked)
