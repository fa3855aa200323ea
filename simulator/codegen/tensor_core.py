"""Matrix instructions of a warp (PTX ISA section 9.7.14): mma.sync on f16, bf16 and tf32, and ldmatrix.

Products are summed in float in ascending k and added to the accumulator last; hardware sums in an order of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from simulator.codegen.control import flush_refused
from simulator.codegen.emitter import ZERO, floats, ints, signed
from simulator.codegen.formats import canonical, halves, join
from simulator.codegen.memory import guard, locate, near
from simulator.codegen.moves import load_rows
from simulator.codegen.warp_emitter import items_of, refuse
from simulator.interface.warp_state import LANES, Access

if TYPE_CHECKING:
    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Instruction

__all__ = ["TRANSLATORS", "matrix_shape"]

_SHAPES = {("f16", 8), ("f16", 16), ("bf16", 8), ("bf16", 16), ("tf32", 4), ("tf32", 8)}
_RESULT_SLOT = 16
_ROWS_PER_MATRIX = 8


def matrix_shape(instruction: Instruction) -> tuple[int, int, int]:
    """Return m, n and k of a matrix instruction."""
    match = next((hit for part in instruction.opcode if (hit := re.fullmatch(r"m(\d+)n(\d+)k(\d+)", part))), None)
    if match is None:
        raise refuse(instruction)
    m, n, k = (int(number) for number in match.groups())
    return m, n, k


def _multiply_matrices(emitter: WarpEmitter, instruction: Instruction) -> None:
    m, n, k = matrix_shape(instruction)
    result, element, other, accumulator = instruction.types[-4:]
    plain = {"mma", "sync", "aligned", "row", "col", f"m{m}n{n}k{k}", *instruction.types}
    known = (m, n) == (16, 8) and (element, k) in _SHAPES and element == other
    if not known or set(instruction.opcode) - plain or not {result, accumulator} <= {"f32", "f16"}:
        raise refuse(instruction)
    target, *sources = instruction.operands
    slot = 0
    starts = []
    for source, kind in zip(sources, ("", "", accumulator), strict=True):
        starts.append(slot)
        for item in items_of(source):
            slot = _store_fragment(emitter, emitter.read(item, 32), slot, packed=kind == "f16")
    name = f"multiply_{element}_{k}"
    if name not in emitter.helpers:
        emitter.helpers[name] = _product_function(name, element, k)
    emitter.call(name, "void", *(("ptr", emitter.scratch(start, half=True)) for start in [*starts, _RESULT_SLOT]))
    slot = _RESULT_SLOT
    for item in items_of(target):
        value, slot = _load_result(emitter, slot, packed=result == "f16")
        if result == "f32":
            value = canonical(emitter, item, emitter.as_float(value, 32))
        emitter.write(item, value, 32, instruction)


def _product_function(name: str, element: str, depth: int) -> str:
    """Return a function that multiplies two fragments and adds a third (sections 9.7.14.5.7 to 9.7.14.5.9).

    With l = 4g + t, lane l holds rows g and g + 8 of the product in columns 2t and 2t + 1. Element (row, k) of the left
    factor is in the lanes 4g to 4g + 3, element (k, column) of the right one in the four lanes from 4 * column on.
    """
    packed = element != "tf32"
    span = 8 if packed else 4  # how far along k a register reaches, over the four lanes
    kind = floats(32)
    lines = [f"define void @{name}(ptr %left, ptr %right, ptr %addend, ptr %result) {{", "entry:"]
    for factor, count in (("left", 2 * depth // span), ("right", depth // span)):
        for register in range(count):
            lines += _unpacked(factor, register, element)
    for k in range(depth):
        place = k % span
        within, half = (place >> 1, place & 1) if packed else (place, 0)
        for side in (0, 1):
            rows = [4 * (lane // 4) + within for lane in range(LANES)]
            columns = [4 * (2 * (lane % 4) + side) + within for lane in range(LANES)]
            lines.append(_shuffled(f"%row{side}.{k}", f"%left{2 * (k // span) + side}.{half}", rows))
            lines.append(_shuffled(f"%column{side}.{k}", f"%right{k // span}.{half}", columns))
        for number in range(4):
            lines.append(f"  %product{number}.{k} = fmul {kind} %row{number >> 1}.{k}, %column{number & 1}.{k}")
            so_far = f"%sum{number}.{k - 1}" if k else ZERO
            lines.append(f"  %sum{number}.{k} = fadd {kind} {so_far}, %product{number}.{k}")
    for number in range(4):
        lines += [
            f"  %addend{number}.at = getelementptr {kind}, ptr %addend, i32 {number}",
            f"  %addend{number} = load {kind}, ptr %addend{number}.at, align 64",
            f"  %total{number} = fadd {kind} %addend{number}, %sum{number}.{depth - 1}",
            f"  %result{number}.at = getelementptr {kind}, ptr %result, i32 {number}",
            f"  store {kind} %total{number}, ptr %result{number}.at, align 64",
        ]
    return "\n".join([*lines, "  ret void", "}"])


def _shuffled(target: str, source: str, lanes: list[int]) -> str:
    order = ", ".join(f"i32 {lane}" for lane in lanes)
    return f"  {target} = shufflevector {floats(32)} {source}, {floats(32)} poison, {ints(32)} <{order}>"


def _unpacked(factor: str, register: int, element: str) -> list[str]:
    """Return code that loads a register of a fragment and widens its elements, one or two, to floats."""
    name, kind = f"%{factor}{register}", ints(32)
    lines = [
        f"  {name}.at = getelementptr {kind}, ptr %{factor}, i32 {register}",
        f"  {name} = load {kind}, ptr {name}.at, align 64",
    ]
    if element == "tf32":
        return [*lines, f"  {name}.cut = and {kind} {name}, splat (i32 -8192)", _as_float(f"{name}.0", f"{name}.cut")]
    if element == "bf16":
        lines += [f"  {name}.low = shl {kind} {name}, splat (i32 16)", f"  {name}.high = and {kind} {name}, splat (i32 -65536)"]
        return [*lines, _as_float(f"{name}.0", f"{name}.low"), _as_float(f"{name}.1", f"{name}.high")]
    lines.append(f"  {name}.shifted = lshr {kind} {name}, splat (i32 16)")
    for half, word in enumerate((name, f"{name}.shifted")):
        lines += [
            f"  {name}.bits{half} = trunc {kind} {word} to {ints(16)}",
            f"  {name}.half{half} = bitcast {ints(16)} {name}.bits{half} to {floats(16)}",
            f"  {name}.{half} = fpext {floats(16)} {name}.half{half} to {floats(32)}",
        ]
    return lines


def _as_float(target: str, source: str) -> str:
    return f"  {target} = bitcast {ints(32)} {source} to {floats(32)}"


def _store_fragment(emitter: WarpEmitter, value: str, slot: int, *, packed: bool) -> int:
    """Leave a register to the support function, a packed accumulator as two floats; return the next free slot."""
    if not packed:
        emitter.emit(f"store {ints(32)} {value}, ptr {emitter.scratch(slot, half=True)}, align 64")
        return slot + 1
    for half in halves(emitter, value):
        wide = emitter.cast("fpext", floats(16), emitter.as_float(half, 16), floats(32))
        emitter.emit(f"store {floats(32)} {wide}, ptr {emitter.scratch(slot, half=True)}, align 64")
        slot += 1
    return slot


def _load_result(emitter: WarpEmitter, slot: int, *, packed: bool) -> tuple[str, int]:
    if not packed:
        return emitter.value(f"load {ints(32)}, ptr {emitter.scratch(slot, half=True)}, align 64"), slot + 1
    pair = []
    for place in (slot, slot + 1):
        value = emitter.value(f"load {floats(32)}, ptr {emitter.scratch(place, half=True)}, align 64")
        pair.append(emitter.as_int(emitter.cast("fptrunc", floats(32), value, floats(16)), 16))
    return join(emitter, *pair), slot + len(pair)


def _load_matrices(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Load 8x8 matrices of 16-bit elements: lane 8i + r gives the address of row r of matrix i (section 9.7.14.5.15)."""
    plain = {"ldmatrix", "sync", "aligned", "m8n8", "x1", "x2", "x4", "trans", "shared", "shared::cta", "b16"}
    if set(instruction.opcode) - plain:
        raise refuse(instruction)
    target, address = instruction.operands
    items = items_of(target)
    addresses = _ROWS_PER_MATRIX * len(items)
    place = locate(emitter, address, instruction.space)
    lanes = emitter.to_mask(str(signed((1 << addresses) - 1, 32)))
    guard(emitter, instruction, place, 16, lanes, Access.READ)
    flush_refused(emitter)
    offsets = near(emitter, place)
    for index, item in enumerate(items):
        value = load_rows(emitter, offsets, _ROWS_PER_MATRIX * index)
        if instruction.has("trans"):
            value = _transposed(emitter, value)
        emitter.write(item, value, 32, instruction)


def _transposed(emitter: WarpEmitter, rows: str) -> str:
    """Give each lane two neighbours of a column instead of a row: column lane / 4, elements 2 (lane % 4) and the next."""
    elements = f"<{2 * LANES} x i16>"
    places = [_ROWS_PER_MATRIX * (2 * (lane % 4) + second) + lane // 4 for lane in range(LANES) for second in (0, 1)]
    order = ", ".join(f"i32 {place}" for place in places)
    row_by_row = emitter.cast("bitcast", ints(32), rows, elements)
    by_column = emitter.value(f"shufflevector {elements} {row_by_row}, {elements} poison, <{2 * LANES} x i32> <{order}>")
    return emitter.cast("bitcast", elements, by_column, ints(32))


TRANSLATORS = {"mma": _multiply_matrices, "ldmatrix": _load_matrices}
