"""Matrix instructions of a warp (PTX ISA section 9.7.14): mma.sync on f16, bf16 and tf32, and ldmatrix.

Products are summed in float in ascending k and added to the accumulator last; hardware sums in an order of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from simulator.codegen.control import flush_refused
from simulator.codegen.emitter import floats, ints, signed
from simulator.codegen.formats import halves, join
from simulator.codegen.layout import LANES
from simulator.codegen.memory import Access, Place, gather, guard, locate
from simulator.codegen.warp_emitter import items_of, refuse

if TYPE_CHECKING:
    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Instruction

__all__ = ["MMA_ELEMENTS", "TRANSLATORS", "matrix_shape"]

MMA_ELEMENTS = ("f16", "bf16", "tf32")
_SHAPES = {("f16", 8), ("f16", 16), ("bf16", 8), ("bf16", 16), ("tf32", 4), ("tf32", 8)}
_RESULT_SLOT = 16
_ROWS_PER_MATRIX = 8


def matrix_shape(instruction: Instruction) -> tuple[int, int, int]:
    """Return m, n and k of a matrix instruction."""
    found = next((hit for part in instruction.opcode if (hit := re.fullmatch(r"m(\d+)n(\d+)k(\d+)", part))), None)
    if found is None:
        raise refuse(instruction)
    m, n, k = (int(number) for number in found.groups())
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
    emitter.call(
        "multiply_fragments",
        "void",
        ("i32", k),
        ("i32", MMA_ELEMENTS.index(element)),
        *(("ptr", emitter.scratch(start, half=True)) for start in [*starts, _RESULT_SLOT]),
    )
    slot = _RESULT_SLOT
    for item in items_of(target):
        value, slot = _load_result(emitter, slot, packed=result == "f16")
        emitter.write(item, value, 32, instruction)


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
    rows = _ROWS_PER_MATRIX * len(items)
    place = locate(emitter, address, instruction.space)
    lanes = emitter.to_mask(str(signed((1 << rows) - 1, 32)))
    guard(emitter, instruction, place, 16, lanes, Access.READ)
    flush_refused(emitter)
    load = _transposed_fragment if instruction.has("trans") else _fragment
    for index, item in enumerate(items):
        emitter.write(item, load(emitter, place, _ROWS_PER_MATRIX * index), 32, instruction)


def _row_offsets(emitter: WarpEmitter, place: Place, rows: list[int], bytes_in_row: list[int]) -> str:
    kind = ints(64)
    order = emitter.lanes_of("i32", rows)
    start = emitter.value(f"shufflevector {kind} {place.offsets}, {kind} poison, {ints(32)} {order}")
    return emitter.op("add", kind, start, emitter.lanes_of("i64", bytes_in_row))


def _fragment(emitter: WarpEmitter, place: Place, first: int) -> str:
    """Give each lane two neighbours of a row: row lane / 4, elements 2 (lane % 4) and the next."""
    rows = [first + lane // 4 for lane in range(LANES)]
    offsets = _row_offsets(emitter, place, rows, [4 * (lane % 4) for lane in range(LANES)])
    return gather(emitter, offsets, 32, emitter.constant(1, 1))


def _transposed_fragment(emitter: WarpEmitter, place: Place, first: int) -> str:
    """Give each lane two neighbours of a column: column lane / 4, elements 2 (lane % 4) and the next."""
    pair = []
    for second in (0, 1):
        rows = [first + 2 * (lane % 4) + second for lane in range(LANES)]
        offsets = _row_offsets(emitter, place, rows, [2 * (lane // 4) for lane in range(LANES)])
        pair.append(gather(emitter, offsets, 16, emitter.constant(1, 1)))
    return join(emitter, *pair)


TRANSLATORS = {"mma": _multiply_matrices, "ldmatrix": _load_matrices}
