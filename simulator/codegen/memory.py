"""Loads, stores, atomics and fences (PTX ISA sections 9.7.9 and 9.7.13).

A fast access is masked to the lanes whose address lies in the arena, or in the block's shared memory; the others end the
launch at the end of the basic block. A checked access goes by way of the checker, which also carries out stores, since it
compares each value with the one it replaces.
"""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, NamedTuple

from simulator.codegen.control import flush_refused
from simulator.codegen.convert import local_base
from simulator.codegen.emitter import MASK, ZERO, ints
from simulator.codegen.layout import ADDRESS_BIAS, LANES, PARAMETERS, Fault, Status
from simulator.codegen.warp_emitter import items_of, refuse
from simulator.ptx.model import BITS, SINK, Address, Register, Symbol

if TYPE_CHECKING:
    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Instruction, Operand

__all__ = ["ATOMIC_OPERATIONS", "ATOMIC_TYPES", "TRANSLATORS", "Access", "Place", "gather", "guard", "locate", "scatter"]

_GATHER_OFFSETS, _GATHER_VALUES = 20, 21
ATOMIC_OPERATIONS = ("add", "min", "max", "exch", "cas", "and", "or", "xor", "inc", "dec")
ATOMIC_TYPES = ("u32", "s32", "f32", "u64", "s64", "f64", "b32", "b64", "b16")
_FLOAT_ADD_ONLY = {"f32", "f64"}
_ATOMIC_WORDS = {
    "noftz", "sem", "relaxed", "acquire", "release", "acq_rel", "cta", "gpu", "sys", "global", "shared", "shared::cta",
    *ATOMIC_OPERATIONS, *ATOMIC_TYPES,
}  # fmt: skip


class Access(IntFlag):
    """What the checker is told of an access."""

    READ = 0
    WRITE = 1
    ATOMIC = 2
    STRONG = 4
    ACQUIRE = 8
    RELEASE = 16
    SHARED = 32
    LOCAL = 64
    BLOCK_SCOPE = 128


class Place(NamedTuple):
    """Where the lanes of an access go: offsets into the arena, and into the window for shared memory."""

    offsets: str
    window: str
    space: str


def locate(emitter: WarpEmitter, address: Operand, space: str) -> Place:
    """Return where an address operand points, for each lane."""
    if not isinstance(address, Address):
        raise TypeError(f"{address!r} is no address")
    if isinstance(address.base, Register):
        value = emitter.read(address.base, 64)
        if address.offset:
            value = emitter.op("add", ints(64), value, emitter.constant(address.offset, 64))
    elif isinstance(address.base, Symbol):
        symbol = Symbol(address.base.name, address.base.offset + address.offset)
        value = emitter.constant(emitter.symbol_address(symbol), 64)
    else:
        value = emitter.constant(address.offset, 64)
    if space == "shared":
        base = emitter.broadcast("i64", emitter.launch_constant("shared"))
        return Place(emitter.op("add", ints(64), value, base), value, space)
    if space == "local":
        value = emitter.op("add", ints(64), value, local_base(emitter))
    return Place(emitter.op("sub", ints(64), value, emitter.constant(ADDRESS_BIAS, 64)), "", space)


# the arena


def _base(emitter: WarpEmitter, extra: int) -> str:
    arena = emitter.launch_constant("arena")
    return emitter.value(f"getelementptr i8, ptr {arena}, i64 {extra}") if extra else arena


def _pointers(emitter: WarpEmitter, offsets: str, extra: int) -> str:
    near = emitter.resize(offsets, 64, 32)  # the arena is smaller than 2 GiB
    return emitter.value(f"getelementptr i8, ptr {_base(emitter, extra)}, {ints(32)} {near}")


def _store_offsets(emitter: WarpEmitter, offsets: str) -> str:
    place = emitter.scratch(_GATHER_OFFSETS)
    emitter.emit(f"store {ints(32)} {emitter.resize(offsets, 64, 32)}, ptr {place}, align 64")
    return place


def gather(emitter: WarpEmitter, offsets: str, bits: int, lanes: str, extra: int = 0) -> str:
    """Read an integer of `bits` at `offsets` plus `extra` in each lane of a mask; the others get zero."""
    kind = ints(bits)
    if emitter.native:
        pointers = (f"<{LANES} x ptr>", _pointers(emitter, offsets, extra))
        name = f"llvm.masked.gather.v{LANES}i{bits}.v{LANES}p0"
        return emitter.call(name, kind, pointers, ("i32", bits // 8), (MASK, lanes), (kind, ZERO))
    source, result = _store_offsets(emitter, offsets), emitter.scratch(_GATHER_VALUES)
    arguments = (("ptr", _base(emitter, extra)), ("ptr", source), ("i32", emitter.to_bits(lanes)), ("ptr", result))
    emitter.call(f"gather_{bits}", "void", *arguments)
    return emitter.value(f"load {kind}, ptr {result}, align 64")


def scatter(emitter: WarpEmitter, offsets: str, value: str, bits: int, lanes: str, extra: int = 0) -> None:
    """Write an integer of `bits` at `offsets` plus `extra` in each lane of a mask; of equal offsets the last lane wins."""
    kind = ints(bits)
    if emitter.native:
        pointers = (f"<{LANES} x ptr>", _pointers(emitter, offsets, extra))
        name = f"llvm.masked.scatter.v{LANES}i{bits}.v{LANES}p0"
        emitter.call(name, "void", (kind, value), pointers, ("i32", bits // 8), (MASK, lanes))
        return
    source, values = _store_offsets(emitter, offsets), emitter.scratch(_GATHER_VALUES)
    emitter.emit(f"store {kind} {value}, ptr {values}, align 64")
    arguments = (("ptr", _base(emitter, extra)), ("ptr", source), ("i32", emitter.to_bits(lanes)), ("ptr", values))
    emitter.call(f"scatter_{bits}", "void", *arguments)


# checks


def guard(emitter: WarpEmitter, instruction: Instruction, place: Place, size: int, lanes: str, access: Access) -> str:
    """Check an access of `size` bytes per lane and return the lanes that may touch memory."""
    if emitter.checked:
        offsets = _scratch_offsets(emitter, place)
        _call_checker(emitter, instruction, place, "check_access", access, lanes, (("i32", size), ("ptr", offsets)))
        return lanes
    if place.space == "shared":
        room = emitter.op("sub", "i64", emitter.launch_constant("shared_size"), size)
        last = emitter.broadcast("i32", emitter.value(f"trunc i64 {room} to i32"))
        inside = emitter.op("icmp sle", ints(32), emitter.resize(place.window, 64, 32), last)
        inside = emitter.both(inside, emitter.op("icmp sge", ints(32), emitter.resize(place.window, 64, 32), ZERO))
    else:
        last = emitter.broadcast("i64", emitter.op("sub", "i64", emitter.launch_constant("arena_size"), size))
        inside = emitter.op("icmp ule", ints(64), place.offsets, last)
    allowed = emitter.both(lanes, inside)
    emitter.refused.append((instruction.index, emitter.op("xor", MASK, lanes, allowed)))
    return allowed


def _scratch_offsets(emitter: WarpEmitter, place: Place) -> str:
    offsets = emitter.scratch(0)
    emitter.emit(f"store {ints(64)} {place.offsets}, ptr {offsets}, align 64")
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
        ("i64", emitter.field("checker", "i64")),
        ("i32", instruction.index),
        ("i32", int(access)),
        ("i32", emitter.to_bits(lanes)),
        *rest,
    )
    bad, fine = emitter.fresh("bad"), emitter.fresh("fine")
    emitter.branch(emitter.value(f"icmp ne i32 {stop}, 0"), bad, fine)
    emitter.label(bad)
    emitter.set_field("fault_code", "i32", int(Fault.CHECKED))
    emitter.leave(Status.FAULT)
    emitter.label(fine)


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
    for index, item in enumerate(targets):
        if item != SINK:
            _write_loaded(emitter, instruction, item, gather(emitter, place.offsets, bits, lanes, index * bits // 8))


def _load_parameter(emitter: WarpEmitter, instruction: Instruction, targets: tuple[Operand, ...], address: Address) -> None:
    """Read the parameter block, which is the same for all lanes."""
    bits, base = BITS[instruction.type], address.base
    parameter = emitter.kernel.parameter(base.name) if isinstance(base, Symbol) else None
    if parameter is None:
        raise refuse(instruction, "an unknown parameter")
    for index, item in enumerate(targets):
        offset = PARAMETERS + parameter.offset + address.offset + index * bits // 8
        scalar = emitter.value(f"load i{bits}, ptr {_base(emitter, offset)}, align 1")
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
    for index, item in enumerate(sources):
        scatter(emitter, place.offsets, emitter.read(item, bits), bits, lanes, index * bits // 8)


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
        ("i64", emitter.field("checker", "i64")),
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
