"""Loads and stores of 32 lanes, and copies from lane to lane's memory, each a function in LLVM IR that kernels call.

Gathers and scatters take tens of cycles, and most warps read and write in line or all at one place: so half a warp at a time
looks at its offsets first. Without AVX-512 support functions of the runtime do it lane by lane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.codegen.emitter import ZERO, ints
from simulator.interface.warp_state import LANES

if TYPE_CHECKING:
    from simulator.codegen.warp_emitter import WarpEmitter

__all__ = ["copy_bytes", "load_lanes", "load_rows", "store_lanes"]

_OFFSETS_SLOT, _VALUES_SLOT = 20, 21
_HALF = LANES // 2
_WORD = 32
_ROWS = 8


def _base(emitter: WarpEmitter, extra: int) -> str:
    arena = emitter.launch_constant("arena")
    return emitter.value(f"getelementptr i8, ptr {arena}, i64 {extra}") if extra else arena


def load_lanes(emitter: WarpEmitter, offsets: str, bits: int, lanes: str, extra: int = 0) -> str:
    """Read an integer of `bits` at 32-bit `offsets` plus `extra` in each lane of a mask; the other lanes get any value."""
    kind, base = ints(bits), _base(emitter, extra)
    if emitter.native:
        name = f"load_lanes_{bits}"
        if name not in emitter.helpers:
            emitter.helpers[name] = _load_function(name, bits)
        return emitter.call(name, kind, ("ptr", base), (ints(32), offsets), ("i32", emitter.to_bits(lanes)))
    result = emitter.scratch(_VALUES_SLOT)
    arguments = (("ptr", base), ("ptr", _stored(emitter, offsets)), ("i32", emitter.to_bits(lanes)), ("ptr", result))
    emitter.call(f"gather_{bits}", "void", *arguments)
    return emitter.value(f"load {kind}, ptr {result}, align 64")


def store_lanes(emitter: WarpEmitter, offsets: str, value: str, bits: int, lanes: str, extra: int = 0) -> None:
    """Write an integer of `bits` at `offsets` plus `extra` in each lane of a mask; of equal offsets the last lane wins."""
    kind, base = ints(bits), _base(emitter, extra)
    if emitter.native:
        name = f"store_lanes_{bits}"
        if name not in emitter.helpers:
            emitter.helpers[name] = _store_function(name, bits)
        emitter.call(name, "void", ("ptr", base), (ints(32), offsets), (kind, value), ("i32", emitter.to_bits(lanes)))
        return
    values = emitter.scratch(_VALUES_SLOT)
    emitter.emit(f"store {kind} {value}, ptr {values}, align 64")
    arguments = (("ptr", base), ("ptr", _stored(emitter, offsets)), ("i32", emitter.to_bits(lanes)), ("ptr", values))
    emitter.call(f"scatter_{bits}", "void", *arguments)


def _stored(emitter: WarpEmitter, offsets: str) -> str:
    place = emitter.scratch(_OFFSETS_SLOT)
    emitter.emit(f"store {ints(32)} {offsets}, ptr {place}, align 64")
    return place


def load_rows(emitter: WarpEmitter, offsets: str, first: int) -> str:
    """Read the eight rows of 16 bytes that lanes `first` and following point at, side by side."""
    name = "load_rows"
    emitter.helpers.setdefault(name, _rows_function(name))
    start = emitter.value(f"getelementptr i32, ptr {_stored(emitter, offsets)}, i32 {first}")
    return emitter.call(name, ints(32), ("ptr", _base(emitter, 0)), ("ptr", start))


def copy_bytes(emitter: WarpEmitter, into: str, origin: str, size: int, length: str, lanes: str) -> None:
    """Copy the first `length` bytes from `origin` in each lane of a mask, at most `size`, and fill up with zeros."""
    name = f"copy_{size}"
    emitter.helpers.setdefault(name, _copy_function(name, size))
    places = []
    for slot, value in enumerate((into, origin, length)):
        places.append(emitter.scratch(slot))
        emitter.emit(f"store {ints(32)} {value}, ptr {places[-1]}, align 64")
    pointers = [("ptr", place) for place in [_base(emitter, 0), *places]]
    emitter.call(name, "void", *pointers, ("i32", emitter.to_bits(lanes)))


def _half_of(part: int, step: int) -> tuple[list[str], str, str]:
    """Return code that looks at half a warp's offsets, and the conditions for all in line and for all at one place."""
    p, half = f"%h{part}.", f"<{_HALF} x i32>"
    order = ", ".join(f"i32 {_HALF * part + lane}" for lane in range(_HALF))
    line = ", ".join(f"i32 {step * lane}" for lane in range(_HALF))
    lines = [
        f"  {p}offsets = shufflevector {ints(32)} %offsets, {ints(32)} poison, {half} <{order}>",
        f"  {p}shifted = lshr i32 %lanes, {_HALF * part}",
        f"  {p}bits = trunc i32 {p}shifted to i{_HALF}",
        f"  {p}mask = bitcast i{_HALF} {p}bits to <{_HALF} x i1>",
        f"  {p}first = extractelement {half} {p}offsets, i32 0",
        f"  {p}one = insertelement {half} poison, i32 {p}first, i32 0",
        f"  {p}all = shufflevector {half} {p}one, {half} poison, {half} {ZERO}",
        f"  {p}distances = sub {half} {p}offsets, {p}all",
    ]
    for name, expected in (("line", f"<{line}>"), ("same", ZERO)):
        lines += [
            f"  {p}{name}.off = icmp ne {half} {p}distances, {expected}",
            f"  {p}{name}.out = and <{_HALF} x i1> {p}{name}.off, {p}mask",
            f"  {p}{name}.bits = bitcast <{_HALF} x i1> {p}{name}.out to i{_HALF}",
            f"  {p}{name} = icmp eq i{_HALF} {p}{name}.bits, 0",
        ]
    lines.append(f"  {p}start = getelementptr i8, ptr %base, i32 {p}first")
    return lines, f"{p}line", f"{p}same"


def _load_function(name: str, bits: int) -> str:
    """Return a load; narrow elements are gathered as words, which may read past the element but not past the arena's slack."""
    kind, wide = f"<{_HALF} x i{bits}>", max(bits, _WORD)
    last = "gathered" if wide > bits else "words"
    gathered, mask = f"<{_HALF} x i{wide}>", f"<{_HALF} x i1>"
    load, gather = f"llvm.masked.load.v{_HALF}i{bits}.p0", f"llvm.masked.gather.v{_HALF}i{wide}.v{_HALF}p0"
    lines = [
        f"declare {kind} @{load}(ptr, i32, {mask}, {kind})",
        f"declare {gathered} @{gather}(<{_HALF} x ptr>, i32, {mask}, {gathered})",
        f"define {ints(bits)} @{name}(ptr %base, {ints(32)} %offsets, i32 %lanes) {{",
        "entry:",
    ]
    for part in (0, 1):
        p = f"%h{part}."
        look, in_line, at_one = _half_of(part, bits // 8)
        lines += [
            *look,
            f"  br i1 {in_line}, label %line{part}, label %other{part}",
            f"line{part}:",
            f"  {p}in.line = call {kind} @{load}(ptr {p}start, i32 1, {mask} {p}mask, {kind} {ZERO})",
            f"  br label %done{part}",
            f"other{part}:",
            f"  br i1 {at_one}, label %same{part}, label %gather{part}",
            f"same{part}:",
            f"  {p}scalar = load i{bits}, ptr {p}start, align 1",
            f"  {p}lonely = insertelement {kind} poison, i{bits} {p}scalar, i32 0",
            f"  {p}spread = shufflevector {kind} {p}lonely, {kind} poison, <{_HALF} x i32> {ZERO}",
            f"  br label %done{part}",
            f"gather{part}:",
            f"  {p}pointers = getelementptr i8, ptr %base, <{_HALF} x i32> {p}offsets",
            f"  {p}words = call {gathered} @{gather}(<{_HALF} x ptr> {p}pointers, i32 1, {mask} {p}mask, {gathered} {ZERO})",
            f"  {p}gathered = trunc {gathered} {p}words to {kind}" if wide > bits else "",
            f"  br label %done{part}",
            f"done{part}:",
            f"  {p}value = phi {kind} [ {p}in.line, %line{part} ], [ {p}spread, %same{part} ], [ {p}{last}, %gather{part} ]",
        ]
    order = ", ".join(f"i32 {lane}" for lane in range(LANES))
    lines += [
        f"  %value = shufflevector {kind} %h0.value, {kind} %h1.value, {ints(32)} <{order}>",
        f"  ret {ints(bits)} %value",
        "}",
    ]
    return "\n".join(lines)


def _store_function(name: str, bits: int) -> str:
    """Return a store; narrow elements that are not in line are stored one by one."""
    kind, mask = f"<{_HALF} x i{bits}>", f"<{_HALF} x i1>"
    store, scatter = f"llvm.masked.store.v{_HALF}i{bits}.p0", f"llvm.masked.scatter.v{_HALF}i{bits}.v{_HALF}p0"
    lines = [
        f"declare void @{store}({kind}, ptr, i32, {mask})",
        f"declare void @{scatter}({kind}, <{_HALF} x ptr>, i32, {mask})",
        f"define void @{name}(ptr %base, {ints(32)} %offsets, {ints(bits)} %value, i32 %lanes) {{",
        "entry:",
    ]
    for part in (0, 1):
        p = f"%h{part}."
        look, in_line, _ = _half_of(part, bits // 8)
        order = ", ".join(f"i32 {_HALF * part + lane}" for lane in range(_HALF))
        lines += [
            *look,
            f"  {p}value = shufflevector {ints(bits)} %value, {ints(bits)} poison, <{_HALF} x i32> <{order}>",
            f"  br i1 {in_line}, label %line{part}, label %scatter{part}",
            f"line{part}:",
            f"  call void @{store}({kind} {p}value, ptr {p}start, i32 1, {mask} {p}mask)",
            f"  br label %done{part}",
            f"scatter{part}:",
            f"  {p}pointers = getelementptr i8, ptr %base, <{_HALF} x i32> {p}offsets",
            f"  call void @{scatter}({kind} {p}value, <{_HALF} x ptr> {p}pointers, i32 1, {mask} {p}mask)",
            f"  br label %done{part}",
            f"done{part}:",
        ]
    return "\n".join([*lines, "  ret void", "}"])


def _rows_function(name: str) -> str:
    quarter, whole = "<4 x i32>", ints(32)
    lines = [f"define {whole} @{name}(ptr %base, ptr %offsets) {{", "entry:"]
    parts = []
    for row in range(_ROWS):
        lines += [
            f"  %place{row} = getelementptr i32, ptr %offsets, i32 {row}",
            f"  %offset{row} = load i32, ptr %place{row}",
            f"  %from{row} = getelementptr i8, ptr %base, i32 %offset{row}",
            f"  %row{row} = load {quarter}, ptr %from{row}, align 1",
        ]
        parts.append((f"%row{row}", 4))
    while len(parts) > 1:
        joined = []
        for (left, width), (right, _) in zip(parts[::2], parts[1::2], strict=True):
            order = ", ".join(f"i32 {element}" for element in range(2 * width))
            kind, both = f"<{width} x i32>", f"{left}.{right[1:]}"
            lines.append(f"  {both} = shufflevector {kind} {left}, {kind} {right}, <{2 * width} x i32> <{order}>")
            joined.append((both, 2 * width))
        parts = joined
    return "\n".join([*lines, f"  ret {whole} {parts[0][0]}", "}"])


def _copy_function(name: str, size: int) -> str:
    """Return a loop over the lanes; a source that ends within the bytes copied goes byte by byte."""
    kind = f"i{8 * size}"
    return f"""declare i32 @llvm.cttz.i32(i32, i1)
define void @{name}(ptr %base, ptr %into, ptr %origin, ptr %length, i32 %lanes) {{
entry:
  br label %look
look:
  %left = phi i32 [ %lanes, %entry ], [ %rest, %next ]
  %any = icmp ne i32 %left, 0
  br i1 %any, label %lane, label %end
lane:
  %number = call i32 @llvm.cttz.i32(i32 %left, i1 true)
  %less = sub i32 %left, 1
  %rest = and i32 %left, %less
  %into.at = getelementptr i32, ptr %into, i32 %number
  %into.offset = load i32, ptr %into.at
  %target = getelementptr i8, ptr %base, i32 %into.offset
  %origin.at = getelementptr i32, ptr %origin, i32 %number
  %origin.offset = load i32, ptr %origin.at
  %source = getelementptr i8, ptr %base, i32 %origin.offset
  %length.at = getelementptr i32, ptr %length, i32 %number
  %bytes = load i32, ptr %length.at
  %all = icmp uge i32 %bytes, {size}
  br i1 %all, label %whole, label %part
whole:
  %value = load {kind}, ptr %source, align 1
  store {kind} %value, ptr %target, align 1
  br label %next
part:
  store {kind} 0, ptr %target, align 1
  br label %ask
ask:
  %done = phi i32 [ 0, %part ], [ %after, %byte ]
  %more = icmp ult i32 %done, %bytes
  br i1 %more, label %byte, label %next
byte:
  %from = getelementptr i8, ptr %source, i32 %done
  %one = load i8, ptr %from
  %to = getelementptr i8, ptr %target, i32 %done
  store i8 %one, ptr %to
  %after = add i32 %done, 1
  br label %ask
next:
  br label %look
end:
  ret void
}}"""
