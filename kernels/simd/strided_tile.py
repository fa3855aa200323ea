"""A register tile of a matrix product that reads its operands in their own layout, without packed panels.

With AVX-512 it is 8 x 32, which takes 16 of 32 registers. A row of the right side is loaded as vectors, the left side
element by element in any order, so that either may be a transposed view. All products of attention use this tile.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.simd.gemm_intrinsics import LANES

__all__ = ["COLUMNS", "ROWS", "add_tile", "prefetch", "set_tile"]

_VECTORS = 2
ROWS = 8 if LANES == 16 else 4  # 32 registers come with vectors of 16 floats
COLUMNS = _VECTORS * LANES

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_F32, LANES)


def _number(value):
    return ir.Constant(_I64, value)


def _at(builder, address, kind, *steps):
    for step in steps:
        address = builder.add(address, step)
    return builder.inttoptr(address, kind.as_pointer())


def _broadcast(builder, value):
    empty = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))


def _make_tile(*, add):
    """Make ``tile(target, left, right)``: target[ROWS, COLUMNS] = left[ROWS, depth] @ right[depth, COLUMNS], or += if `add`.

    All three are views of float32 arrays; rows of `target` and `right` are contiguous.
    """

    @intrinsic
    def tile(_context, target, left, right):
        def generate(context, builder, signature, arguments):
            pairs = zip(signature.args, arguments, strict=True)
            views = [context.make_array(kind)(context, builder, value) for kind, value in pairs]
            to, at_left, at_right = (builder.ptrtoint(view.data, _I64) for view in views)
            (to_row, _), (left_row, left_step), (right_row, _) = (cgutils.unpack_tuple(builder, v.strides, 2) for v in views)
            _, depth = cgutils.unpack_tuple(builder, views[1].shape, 2)
            fma = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fmuladd.v{LANES}f32"
            )
            left_rows = [builder.mul(left_row, _number(i)) for i in range(ROWS)]
            places = [
                _at(builder, to, _VECTOR, builder.mul(to_row, _number(i)), _number(4 * LANES * j))
                for i in range(ROWS)
                for j in range(_VECTORS)
            ]
            zero = ir.Constant(_VECTOR, [0.0] * LANES)
            starts = [builder.load(place, align=4) if add else zero for place in places]

            before, loop = builder.block, builder.append_basic_block("depth")
            body, after = builder.append_basic_block("step"), builder.append_basic_block("done")
            builder.branch(loop)
            builder.position_at_end(loop)
            counters = [builder.phi(_I64) for _ in range(3)]
            sums = [builder.phi(_VECTOR) for _ in starts]
            for phi, start in zip(counters + sums, [_number(0), at_left, at_right, *starts], strict=True):
                phi.add_incoming(start, before)
            k, from_left, from_right = counters
            builder.cbranch(builder.icmp_signed("<", k, depth), body, after)

            builder.position_at_end(body)
            pieces = [_at(builder, from_right, _VECTOR, _number(4 * LANES * j)) for j in range(_VECTORS)]
            vectors = [builder.load(piece, align=4) for piece in pieces]
            moved = [builder.add(k, _number(1)), builder.add(from_left, left_step), builder.add(from_right, right_row)]
            for i, row in enumerate(left_rows):
                element = _broadcast(builder, builder.load(_at(builder, from_left, _F32, row), align=4))
                moved += [builder.call(fma, [element, v, sums[i * _VECTORS + j]]) for j, v in enumerate(vectors)]
            for phi, value in zip(counters + sums, moved, strict=True):
                phi.add_incoming(value, body)
            builder.branch(loop)

            builder.position_at_end(after)
            for place, value in zip(places, sums, strict=True):
                builder.store(value, place, align=4)
            return context.get_dummy_value()

        return types.void(target, left, right), generate

    return tile


set_tile, add_tile = _make_tile(add=False), _make_tile(add=True)


@intrinsic
def prefetch(_context, array, row, column):  # noqa: ARG001 (types)
    """Prefetch the cache line of array[row, column], which may be past the end."""

    def generate(context, builder, signature, arguments):
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        steps = [builder.mul(i, s) for i, s in zip(arguments[1:], cgutils.unpack_tuple(builder, view.strides, 2), strict=True)]
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        place = _at(builder, builder.ptrtoint(view.data, _I64), ir.IntType(8), *steps)
        builder.call(function, [place, *(ir.Constant(_I32, word) for word in (0, 2, 1))])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate
