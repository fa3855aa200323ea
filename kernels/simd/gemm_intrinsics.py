"""Vector instructions of the packed matrix product, emitted as LLVM IR where no Python loop compiles to them.

A register tile holds ROWS x COLUMNS elements of the result: with AVX-512 8 x 48, which takes 24 of its 32 registers and
leaves three for a row of the right side and one for a broadcast element of the left. Every pointer is an address in an
int64, every stride counts bytes. The intrinsics are module globals: numba's cache never finds again what closes over them.
"""

from __future__ import annotations

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "COLUMNS", "LANES", "ROWS", "UNROLL", "add_atomically", "as_floats", "as_integers", "call_for_thread",
    "copy_columns", "copy_rows", "give_way", "load", "load_shared", "multiply_tile", "store",
    "transpose_columns", "transpose_rows",
]  # fmt: skip


def _has(feature):
    """Return whether numba compiles for `feature`: the features are part of its cache's key, so the widths may be too."""
    if numba.config.CPU_FEATURES is not None:
        return f"+{feature}" in numba.config.CPU_FEATURES.split(",")
    return bool(llvmlite.binding.get_host_cpu_features().get(feature))


# Floats in a register; rows of a tile; registers of a row. 32 registers exist with AVX-512 and NEON, 16 with AVX2 and SSE.
if _has("avx512f"):
    LANES, ROWS, _VECTORS = 16, 8, 3
elif _has("avx2") and _has("fma"):
    LANES, ROWS, _VECTORS = 8, 4, 3
elif _has("neon"):
    LANES, ROWS, _VECTORS = 4, 4, 4
else:
    LANES, ROWS, _VECTORS = 4, 4, 2
COLUMNS = _VECTORS * LANES
UNROLL = 4  # steps of depth in one turn of the tile's loop
_LINE = 64  # bytes that one prefetch brings
_AHEAD = 256  # bytes by which the left panel is prefetched

_HALVES = (0, LANES // 2)

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_F32, LANES)
_READ, _WRITE, _L1, _DATA = 0, 1, 3, 1  # arguments of llvm.prefetch


def _number(value):
    return ir.Constant(_I64, value)


def _pointer(builder, address, kind):
    return builder.inttoptr(address, kind.as_pointer())


def _at(builder, address, stride, index):
    return builder.add(address, builder.mul(_number(index), stride))


def _past(builder, address, offset):
    return builder.add(address, _number(offset)) if offset else address


def _load(builder, address, kind, alignment=4):
    return builder.load(_pointer(builder, address, kind), align=alignment)


def _store(builder, value, address, alignment=4):
    builder.store(value, _pointer(builder, address, value.type), align=alignment)


def _prefetch(builder, address, purpose):
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    words = [ir.Constant(_I32, value) for value in (purpose, _L1, _DATA)]
    builder.call(function, [builder.inttoptr(address, byte), *words])


def _broadcast(builder, value):
    empty = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))


def _add_products(builder, left, right, tile):
    """Return the tile's vectors with UNROLL steps of depth added."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    multiply_add = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32")
    tile = list(tile)
    for step in range(UNROLL):
        places = [_past(builder, right, 4 * (step * COLUMNS + j * LANES)) for j in range(_VECTORS)]
        vectors = [_load(builder, place, _VECTOR, 4 * LANES) for place in places]
        if step * ROWS * 4 % _LINE < ROWS * 4:
            _prefetch(builder, _past(builder, left, 4 * step * ROWS + _AHEAD), _READ)
        for i in range(ROWS):
            element = _broadcast(builder, _load(builder, _past(builder, left, 4 * (step * ROWS + i)), _F32))
            for j, vector in enumerate(vectors, start=i * _VECTORS):
                tile[j] = builder.call(multiply_add, [element, vector, tile[j]])
    return tile


def _procedure(count):
    return types.void(*[types.int64] * count)


@intrinsic
def multiply_tile(_context, depth, left, right, result, row, addend, addend_row):  # noqa: ARG001 (types)
    """Set a tile: result[ROWS, COLUMNS] = left[depth, ROWS].T @ right[depth, COLUMNS] + addend.

    `depth` is a positive multiple of UNROLL, the panels are aligned to a register. `row` and `addend_row` are strides; the
    addend may be the result itself, or one row for all with a stride of 0.
    """

    def generate(context, builder, _signature, arguments):
        depth, left, right, result, row, addend, addend_row = arguments
        for i in range(ROWS):
            for offset in range(0, 4 * COLUMNS, _LINE):
                _prefetch(builder, _past(builder, _at(builder, result, row, i), offset), _WRITE)

        before, loop, after = builder.block, builder.append_basic_block("depth"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        starts = [_number(0), left, right]
        counters = [builder.phi(_I64) for _ in starts]
        sums = [builder.phi(_VECTOR) for _ in range(ROWS * _VECTORS)]
        for phi, start in zip(counters + sums, starts + [ir.Constant(_VECTOR, [0.0] * LANES)] * len(sums), strict=True):
            phi.add_incoming(start, before)
        k, at_left, at_right = counters
        tile = _add_products(builder, at_left, at_right, sums)
        next_k = _past(builder, k, UNROLL)
        moved = [next_k, _past(builder, at_left, 4 * UNROLL * ROWS), _past(builder, at_right, 4 * UNROLL * COLUMNS)]
        for phi, value in zip(counters + sums, moved + tile, strict=True):
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", next_k, depth), loop, after)

        builder.position_at_end(after)
        for i in range(ROWS):
            for j in range(_VECTORS):
                start = _load(builder, _past(builder, _at(builder, addend, addend_row, i), 4 * j * LANES), _VECTOR)
                value = builder.fadd(start, tile[i * _VECTORS + j])
                _store(builder, value, _past(builder, _at(builder, result, row, i), 4 * j * LANES))
        return context.get_dummy_value()

    return _procedure(7), generate


def _interleave(builder, x, y):
    """Return the first halves and the second halves of two vectors, element by element in turn."""
    places = [ir.Constant(ir.VectorType(_I32, LANES), [h + i // 2 + i % 2 * LANES for i in range(LANES)]) for h in _HALVES]
    return [builder.shuffle_vector(x, y, place) for place in places]


def _make_transpose(rows):
    """Make ``transpose(source, row, target, step)``: `rows` rows of LANES floats, stored column by column.

    Interleaving row i with row i + rows/2, again and again, ends after log2(rows) rounds with the elements in that order: each
    vector then holds LANES / rows whole columns, and they are stored `step` bytes apart.
    """

    @intrinsic
    def transpose(_context, source, row, target, step):  # noqa: ARG001 (types)
        def generate(context, builder, _signature, arguments):
            source, row, target, step = arguments
            groups = []
            for i in range(rows):
                address = _at(builder, source, row, i)
                groups.append([_load(builder, address, _VECTOR)])
                _prefetch(builder, _past(builder, address, 8 * _LINE), _READ)
            while len(groups) > 1:
                half = len(groups) // 2
                pairs = [zip(x, y, strict=True) for x, y in zip(groups[:half], groups[half:], strict=True)]
                groups = [[vector for x, y in pair for vector in _interleave(builder, x, y)] for pair in pairs]
            for i, vector in enumerate(groups[0]):
                _store(builder, vector, _at(builder, target, step, i))
            return context.get_dummy_value()

        return _procedure(4), generate

    return transpose


def _make_copy(count):
    """Make ``copy(source, target, ahead)``: `count` floats, and a prefetch of the source `ahead` bytes on."""

    @intrinsic
    def copy(_context, source, target, ahead):  # noqa: ARG001 (types)
        def generate(context, builder, _signature, arguments):
            source, target, ahead = arguments
            _store(builder, _load(builder, source, ir.VectorType(_F32, count)), target)
            _prefetch(builder, builder.add(source, ahead), _READ)
            return context.get_dummy_value()

        return _procedure(3), generate

    return copy


transpose_rows, transpose_columns = _make_transpose(ROWS), _make_transpose(LANES)
copy_rows, copy_columns = _make_copy(ROWS), _make_copy(LANES)


@intrinsic
def load(_context, address):  # noqa: ARG001 (a type)
    """Return the float at an address."""
    return types.float32(types.int64), lambda _, builder, __, arguments: _load(builder, arguments[0], _F32)


@intrinsic
def store(_context, address, value):  # noqa: ARG001 (types)
    """Put a float at an address."""

    def generate(context, builder, _signature, arguments):
        _store(builder, arguments[1], arguments[0])
        return context.get_dummy_value()

    return types.void(types.int64, types.float32), generate


@intrinsic
def as_floats(_context, address):  # noqa: ARG001 (a type)
    """Return an address as a pointer to floats, which ``numba.carray`` takes."""
    kind = types.CPointer(types.float32)
    return kind(types.int64), lambda _, builder, __, arguments: _pointer(builder, arguments[0], _F32)


@intrinsic
def as_integers(_context, address):  # noqa: ARG001 (a type)
    """Return an address as a pointer to int64, which ``numba.carray`` takes."""
    kind = types.CPointer(types.int64)
    return kind(types.int64), lambda _, builder, __, arguments: _pointer(builder, arguments[0], _I64)


@intrinsic
def add_atomically(_context, address, value):  # noqa: ARG001 (types)
    """Add to the int64 at an address that threads share; return its old value."""

    def generate(_context, builder, _signature, arguments):
        return builder.atomic_rmw("add", _pointer(builder, arguments[0], _I64), arguments[1], "acq_rel")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def load_shared(_context, address):  # noqa: ARG001 (a type)
    """Return the int64 at an address that threads share, and see all their writes before that write."""

    def generate(_context, builder, _signature, arguments):
        return builder.load_atomic(_pointer(builder, arguments[0], _I64), "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def give_way(_context):
    """Yield this core to another thread, if one is waiting for it."""

    def generate(context, builder, _signature, _arguments):
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_I32, []), "sched_yield")
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def call_for_thread(_context, function, thread, job):  # noqa: ARG001 (types)
    """Call the compiled ``function(thread, job)`` at an address: its callers need not be compiled together with it."""

    def generate(context, builder, _signature, arguments):
        function, thread, job = arguments
        kind = ir.FunctionType(ir.VoidType(), [_I64, _I64])
        builder.call(_pointer(builder, function, kind), [thread, job])
        return context.get_dummy_value()

    return _procedure(3), generate
