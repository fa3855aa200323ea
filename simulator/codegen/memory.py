"""Loads, stores, atomics and fences (PTX ISA sections 9.7.9 and 9.7.13).

A fast access is masked to the lanes whose address is in the arena, or in the block's shared memory; other lanes end the
launch at the end of the basic block. A checked access goes by way of the checker, which also carries out stores, since it
compares each value with the one it replaces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from simulator.codegen.control import flush_refused
from simulator.codegen.convert import local_base
from simulator.codegen.emitter import MASK, ints
from simulator.codegen.moves import load_lanes, store_lanes
from simulator.codegen.warp_emitter import items_of, refuse
from simulator.interface.warp_state import ADDRESS_BIAS, ATOMIC_OPERATIONS, ATOMIC_TYPES, PARAMETERS, Access
from simulator.ptx.model import BITS, SINK, Address, Register, Symbol

if TYPE_CHECKING:
    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Instruction, Operand

__all__ = ["TRANSLATORS", "Place", "guard", "locate", "near"]

_FLOAT_ADD_ONLY = {"f32", "f64"}
_ATOMIC_WORDS = {
    "noftz", "sem", "relaxed", "acquire", "release", "acq_rel", "cta", "gpu", "sys", "global", "shared", "shared::cta",
    *ATOMIC_OPERATIONS, *ATOMIC_TYPES,
}  # fmt: skip


class Place(NamedTuple):
    """The addresses of the lanes of an access."""

    offsets: str
    """Offsets into the arena."""
    bits: int
    """Their width: 32 will do for shared memory in fast mode."""
    window: str
    """In that case, the offsets into the block's shared memory."""
    space: str


def locate(emitter: WarpEmitter, address: Operand, space: str) -> Place:
    """Return the address of an operand in each lane."""
    if not isinstance(address, Address):
        raise TypeError(f"{address!r} is no address")
    bits = 32 if space == "shared" and not emitter.checked else 64
    value = _value_of(emitter, address, bits)
    if space == "shared":
        base = emitter.launch_constant("shared")
        if bits == BITS["u32"]:
            first = emitter.broadcast("i32", emitter.value(f"trunc i64 {base} to i32"))
            return Place(emitter.op("add", ints(32), value, first), bits, value, space)
        return Place(emitter.op("add", ints(64), value, emitter.broadcast("i64", base)), bits, "", space)
    if space == "local":
        value = emitter.op("add", ints(64), value, local_base(emitter))
    return Place(emitter.op("sub", ints(64), value, emitter.constant(ADDRESS_BIAS, 64)), bits, "", space)


def near(emitter: WarpEmitter, place: Place) -> str:
    """Return the offsets with 32 bits; offsets inside the arena fit, since it is smaller than 2 GiB."""
    return emitter.resize(place.offsets, place.bits, 32)


def _value_of(emitter: WarpEmitter, address: Address, bits: int) -> str:
    if isinstance(address.base, Register):
        value = emitter.read(address.base, bits)
        return emitter.op("add", ints(bits), value, emitter.constant(address.offset, bits)) if address.offset else value
    if isinstance(address.base, Symbol):
        symbol = Symbol(address.base.name, address.base.offset + address.offset)
        return emitter.constant(emitter.symbol_address(symbol), bits)
    return emitter.constant(address.offset, bits)


# checks


def guard(emitter: WarpEmitter, instruction: Instruction, place: Place, size: int, lanes: str, access: Access) -> str:
    """Check an access of `size` bytes per lane and return the lanes that may touch memory."""
    if emitter.checked:
        offsets = _scratch_offsets(emitter, place)
        _call_checker(emitter, instruction, place, "check_access", access, lanes, (("i32", size), ("ptr", offsets)))
        return lanes
    if place.space == "shared":
        end = emitter.op("add", "i64", emitter.launch_constant("shared_size"), 1)
        starts = emitter.call("llvm.usub.sat.i64", "i64", ("i64", end), ("i64", size))
        inside = emitter.op(
            "icmp ult", ints(32), place.window, emitter.broadcast("i32", emitter.value(f"trunc i64 {starts} to i32"))
        )
    else:
        last = emitter.broadcast("i64", emitter.op("sub", "i64", emitter.launch_constant("arena_size"), size))
        inside = emitter.op("icmp ule", ints(64), place.offsets, last)
    allowed = emitter.both(lanes, inside)
    emitter.refused.append((instruction.index, emitter.op("xor", MASK, lanes, allowed)))
    return allowed


def _scratch_offsets(emitter: WarpEmitter, place: Place) -> str:
    offsets = emitter.scratch(0)
    emitter.emit(f"store {ints(64)} {emitter.resize(place.offsets, place.bits, 64)}, ptr {offsets}, align 64")
    return offsets


def _call_checker(
    emitter: WarpEmitter,
    instruction: Instruction,
    place: Place,
    name: str,
    access: Access,
    lanes: str,
    rest: tuple[tuple[str, str | int], ...],
) -> None:
    """Call one of the checker's functions; where it says so, the launch ends."""
    access |= {"shared": Access.SHARED, "local": Access.LOCAL}.get(place.space, Access.READ)
    stop = emitter.call(
        name,
        "i32",
        ("i64", emitter.state_number()),
        ("i64", emitter.launch_constant("checker")),
        ("i32", instruction.index),
        ("i32", int(access)),
        ("i32", emitter.to_bits(lanes)),
        *rest,
    )
    emitter.stop_if(emitter.value(f"icmp ne i32 {stop}, 0"))


def _strength(instruction: Instruction) -> Access:
    """Return how an access orders memory: volatile and relaxed ones are strong, others may acquire or release."""
    strength = Access.READ
    if any(instruction.has(word) for word in ("volatile", "relaxed", "acquire", "release", "acq_rel", "mmio")):
        strength |= Access.STRONG
    if instruction.has("acquire") or instruction.has("acq_rel"):
        strength |= Access.ACQUIRE
    if instruction.has("release") or instruction.has("acq_rel"):
        strength |= Access.RELEASE
    if instruction.has("cta"):
        strength |= Access.BLOCK_SCOPE
    return strength


# loads and stores


def _load(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, address = instruction.operands[:2]
    if instruction.types == () or instruction.type == "b128":
        raise refuse(instruction)
    targets, bits = items_of(target), BITS[instruction.type]
    if instruction.space == "param" and isinstance(address, Address) and isinstance(address.base, Symbol):
        _load_parameter(emitter, instruction, targets, address)
        return
    place = locate(emitter, address, instruction.space)
    lanes = guard(emitter, instruction, place, bits // 8 * len(targets), emitter.lanes(instruction), _strength(instruction))
    offsets = near(emitter, place)
    for index, item in enumerate(targets):
        if item != SINK:
            _write_loaded(emitter, instruction, item, load_lanes(emitter, offsets, bits, lanes, index * bits // 8))


def _load_parameter(emitter: WarpEmitter, instruction: Instruction, targets: tuple[Operand, ...], address: Address) -> None:
    """Read the parameter block, which is the same for all lanes."""
    bits, base = BITS[instruction.type], address.base
    parameter = emitter.kernel.parameter(base.name) if isinstance(base, Symbol) else None
    if parameter is None:
        raise refuse(instruction, "an unknown parameter")
    for index, item in enumerate(targets):
        offset = PARAMETERS + parameter.offset + address.offset + index * bits // 8
        arena = emitter.launch_constant("arena")
        place = emitter.value(f"getelementptr i8, ptr {arena}, i64 {offset}")
        scalar = emitter.value(f"load i{bits}, ptr {place}, align 1")
        _write_loaded(emitter, instruction, item, emitter.broadcast(f"i{bits}", scalar))


def _write_loaded(emitter: WarpEmitter, instruction: Instruction, target: Operand, value: str) -> None:
    """Write a loaded value; a wider register gets it extended by the type's sign."""
    bits = BITS[instruction.type]
    if isinstance(target, Register) and target.bits > bits:
        value = emitter.resize(value, bits, target.bits, sign=instruction.type.startswith("s"))
        bits = target.bits
    emitter.write(target, value, bits, instruction)


def _store(emitter: WarpEmitter, instruction: Instruction) -> None:
    address, source = instruction.operands[:2]
    if instruction.space == "param" or instruction.has("async") or instruction.type == "b128":
        raise refuse(instruction)
    sources, bits = items_of(source), BITS[instruction.type]
    place, lanes = locate(emitter, address, instruction.space), emitter.lanes(instruction)
    access = Access.WRITE | _strength(instruction)
    if emitter.checked:
        offsets = _scratch_offsets(emitter, place)
        for index, item in enumerate(sources):
            emitter.emit(f"store {ints(bits)} {emitter.read(item, bits)}, ptr {emitter.scratch(1 + index)}, align 64")
        rest = (("i32", bits // 8), ("i32", len(sources)), ("ptr", offsets), ("ptr", emitter.scratch(1)))
        _call_checker(emitter, instruction, place, "check_store", access, lanes, rest)
        return
    lanes = guard(emitter, instruction, place, bits // 8 * len(sources), lanes, access)
    offsets = near(emitter, place)
    for index, item in enumerate(sources):
        store_lanes(emitter, offsets, emitter.read(item, bits), bits, lanes, index * bits // 8)


# atomics


def _atomic(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Read, modify and write, lane after lane (PTX ISA sections 9.7.13.5 and 9.7.13.6, atom and red)."""
    kind = instruction.type
    operation = next((part for part in instruction.opcode if part in ATOMIC_OPERATIONS), "")
    operands = instruction.operands if instruction.name == "red" else instruction.operands[1:]
    odd = set(instruction.opcode[1:]) - _ATOMIC_WORDS
    if odd or kind not in ATOMIC_TYPES or (kind in _FLOAT_ADD_ONLY and operation not in {"add", "exch"}):
        raise refuse(instruction)
    bits = BITS[kind]
    place, lanes = locate(emitter, operands[0], instruction.space), emitter.lanes(instruction)
    access = Access.WRITE | Access.ATOMIC | Access.STRONG | _strength(instruction)
    lanes = guard(emitter, instruction, place, bits // 8, lanes, access)
    flush_refused(emitter)
    offsets = _scratch_offsets(emitter, place)
    for slot, operand in enumerate(operands[1:], start=1):
        wide = emitter.resize(emitter.read(operand, bits), bits, 64)
        emitter.emit(f"store {ints(64)} {wide}, ptr {emitter.scratch(slot)}, align 64")
    arena = emitter.value(f"ptrtoint ptr {emitter.launch_constant('arena')} to i64")
    emitter.call(
        "apply_atomic",
        "void",
        ("i32", ATOMIC_OPERATIONS.index(operation)),
        ("i32", ATOMIC_TYPES.index(kind)),
        ("i64", arena),
        ("i32", emitter.to_bits(lanes)),
        ("ptr", offsets),
        *(("ptr", emitter.scratch(slot)) for slot in (1, 2, 3)),
    )
    if instruction.name == "atom":
        old = emitter.value(f"load {ints(64)}, ptr {emitter.scratch(3)}, align 64")
        emitter.write(instruction.operands[0], emitter.resize(old, 64, bits), bits, instruction)


# order


def _fence(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Order memory: the simulator runs instructions in order, so only the checker has something to do."""
    if any(instruction.has(word) for word in ("proxy", "mbarrier_init", "cluster")):
        raise refuse(instruction)
    if not emitter.checked:
        return
    block_scope = int(instruction.has("cta"))
    emitter.call(
        "check_fence",
        "void",
        ("i64", emitter.state_number()),
        ("i64", emitter.launch_constant("checker")),
        ("i32", block_scope),
        ("i32", emitter.to_bits(emitter.lanes(instruction))),
    )


def _hint(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Do nothing: prefetches and sleeps change no value."""
    del emitter, instruction


TRANSLATORS = {
    "ld": _load,
    "ldu": _load,
    "st": _store,
    "atom": _atomic,
    "red": _atomic,
    "membar": _fence,
    "fence": _fence,
    "prefetch": _hint,
    "prefetchu": _hint,
    "nanosleep": _hint,
    "applypriority": _hint,
}
