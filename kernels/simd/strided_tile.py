"""A register tile of a matrix product whose operands lie in memory as they come: no packed panels.

With AVX-512 it is 8 x 32, which takes 16 of 32 registers. A row of the right side is loaded as vectors, the left side
element by element in any order, so that either may be a transposed view. Attention takes all its products from this.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.simd.gemm_intrinsics import LANES

__all__ = ["COLUMNS", "ROWS", "add_tile", "set_tile"]

_VECTORS = 2
ROWS = 8 if LANES == 16 else 4  # noqa: PLR2004 (32 registers come with vectors of 16 floats)
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
    @intrinsic
    def tile(_context, target, left, right):
        def generate(context, builder, signature, arguments):
            views = [context.make_array(kind)(context, builder, value) for kind, value in zip(signature.args, arguments, strict=True)]
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
            vectors = [builder.load(_at(builder, from_right, _VECTOR, _number(4 * LANES * j)), align=4) for j in range(_VECTORS)]
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
