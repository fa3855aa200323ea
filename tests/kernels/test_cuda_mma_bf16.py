"""Tensor cores take bfloat16 as it is: one product where float32 needs six, from panels whose banks are never asked twice."""

import numpy as np
import pytest

from harness.proof.cases.values import materialise
from registry import Problem, discover
from registry.cuda import simulation

TABLE = discover()
PRODUCTS = ["matmul", "matmul_backward_input", "matmul_backward_weight", "matmul_gelu", "matmul_gelu_backward"]
SIZES = dict.fromkeys("NCO", 128)
HEADS = {"B": 1, "T": 64, "H": 1, "D": 64}


def aligned(shape, dtype):
    """Return zeros that start at a multiple of 64 bytes."""
    room = np.zeros(int(np.prod(shape)) * dtype.itemsize + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + room.size - 64].view(dtype).reshape(shape)


def count(op, variant, dtype, dims):
    """Return the counters of the one launch of a call."""
    variant = TABLE.variant(op, variant)
    params = {n: v[0] for n, v in variant.op.params.items() if not isinstance(v, str)} | variant.op.bound_params(dims)
    values = materialise(variant.op, Problem(op, dims, params, dtype=dtype))
    arrays = [aligned(a.shape(dims), a.numpy_dtype(dtype)) for a in variant.op.arguments]
    for argument, array in zip(variant.op.arguments, arrays, strict=True):
        array[...] = values.get(argument.name, 0)
    with simulation("checked") as launches:
        variant.function(*arrays, **params)
    [done] = launches
    return done.counters.total


@pytest.mark.parametrize("op", PRODUCTS)
def test_factors_of_bfloat16_take_one_product_where_float32_takes_six(op):
    single, half = count(op, "cuda_mma", "float32", SIZES), count(op, "cuda_mma_bf16", "bfloat16", SIZES)
    assert half.flops["bf16 mma"] == 2 * 128**3
    assert single.flops["bf16 mma"] == 6 * half.flops["bf16 mma"]


@pytest.mark.parametrize("op", PRODUCTS)
def test_no_bank_is_read_twice_by_one_access(op):
    assert count(op, "cuda_mma_bf16", "bfloat16", SIZES).bank_conflicts == 0


def test_of_attention_only_the_weights_are_split():
    split = count("attention", "cuda_flash_mma", "float32", HEADS)
    mixed = count("attention", "cuda_flash_mma_bf16", "bfloat16", HEADS)
    once = split.flops["tf32 mma"] // 6
    assert mixed.flops["bf16 mma"] == once + 3 * once
    assert mixed.bank_conflicts == 0
