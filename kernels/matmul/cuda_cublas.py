"""The matrix product of NVIDIA's library, added to the bias. Unverified: no GPU has run it yet.

Builds on: cuda_mma, as a measure of the speed that is still to gain.
Idea: cuBLAS reads a row-major matrix as the transpose of a column-major one, and adds the product to the result, which holds
    the bias in every row. Called through CuPy, by its sgemm in plain float32.
Source: NVIDIA, cuBLAS Library, section 2.7.1, cublas<t>gemm(); CuPy, cupy.cublas.gemm.
Costs: the result is written twice and read once. In bfloat16 it would be rounded twice, so this variant is float32 only. It
    runs on a GPU only: the simulator runs kernels and has no library.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from functools import cache

import numpy as np

from kernels.matmul.spec import MATMUL
from registry import register
from registry.devices import device
from registry.errors import ContractError, RequestError

_REASON = "cuBLAS is a library for GPUs, which the simulator cannot run"


@cache
def _why_not():
    try:
        device("cuda")
    except RequestError as error:
        return f"{_REASON}: {error}"
    return ""


def _refuses(**_):
    if why := _why_not():
        yield why


@register(MATMUL, refuses=_refuses)
def cuda_cublas(x, weight, bias, y):
    if isinstance(y, np.ndarray):
        raise ContractError(f"cuda_cublas was given CPU arrays: {_REASON}")
    from cupy import cublas

    y[...] = bias
    if y.size and x.size:
        cublas.gemm("N", "T", x, weight, out=y, beta=1.0)
