"""Calls of functions that the compiler left external: mathematics (libm of the CPU), printf and assert."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.codegen.emitter import ints
from simulator.codegen.floating import each_lane
from simulator.codegen.warp_emitter import refuse
from simulator.interface.warp_state import Fault
from simulator.ptx.model import BITS, Symbol, Vector

if TYPE_CHECKING:
    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Instruction

__all__ = ["BINARY", "TRANSLATORS", "UNARY"]

UNARY = (
    "exp", "exp2", "exp10", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "cbrt",
)  # fmt: skip
BINARY = ("pow", "fmod", "atan2", "hypot")
_PREFIX = "__nv_"


def _call(emitter: WarpEmitter, instruction: Instruction) -> None:
    results, function, arguments = instruction.operands
    if not (isinstance(results, Vector) and isinstance(arguments, Vector) and isinstance(function, Symbol)):
        raise refuse(instruction, "an indirect call")
    if function.name == "vprintf":
        _print(emitter, instruction, arguments)
    elif function.name == "__assertfail":
        _assert(emitter, instruction)
    else:
        _libm_function(emitter, instruction, function.name, results, arguments)


def _libm_function(emitter: WarpEmitter, instruction: Instruction, symbol: str, results: Vector, arguments: Vector) -> None:
    name = symbol.removeprefix(_PREFIX)
    bits = BITS["f64"]
    if name not in UNARY + BINARY and name.endswith("f"):
        name, bits = name.removesuffix("f"), BITS["f32"]
    count = 1 if name in UNARY else len(("x", "y"))
    known = symbol.startswith(_PREFIX) and name in UNARY + BINARY
    if not known or len(results.items) != 1 or len(arguments.items) != count:
        raise refuse(instruction, f"the external function {symbol}")
    values = [emitter.read_float(argument, bits) for argument in arguments.items]
    result = each_lane(emitter, name, bits, *values)
    emitter.write(results.items[0], emitter.as_int(result, bits), bits, instruction)


def _print(emitter: WarpEmitter, instruction: Instruction, arguments: Vector) -> None:
    """Keep the addresses of the format and of the values; the launcher formats the text."""
    for slot, argument in enumerate(arguments.items):
        emitter.emit(f"store {ints(64)} {emitter.read(argument, 64)}, ptr {emitter.scratch(slot)}, align 64")
    arena = emitter.value(f"ptrtoint ptr {emitter.launch_constant('arena')} to i64")
    emitter.call(
        "keep_printed",
        "void",
        ("i64", emitter.field("print_buffer", "i64")),
        ("i64", arena),
        ("i64", emitter.launch_constant("arena_size")),
        ("i32", emitter.to_bits(emitter.lanes(instruction))),
        ("ptr", emitter.scratch(0)),
        ("ptr", emitter.scratch(1)),
    )


def _assert(emitter: WarpEmitter, instruction: Instruction) -> None:
    lanes = emitter.to_bits(emitter.lanes(instruction))
    failed, on = emitter.fresh("failed"), emitter.fresh("on")
    emitter.branch(emitter.value(f"icmp ne i32 {lanes}, 0"), failed, on)
    emitter.label(failed)
    emitter.fault(Fault.ASSERT, instruction.index, lanes)
    emitter.label(on)


TRANSLATORS = {"call": _call}
