"""Run one instruction over arrays: a tiny kernel around it, one thread per element."""

import functools

import numpy as np

import simulator
from simulator.ptx import BITS

DTYPES = {
    "pred": np.bool_, "u8": np.uint8, "s8": np.int8, "u16": np.uint16, "s16": np.int16, "b16": np.uint16, "f16": np.float16,
    "bf16": np.uint16, "u32": np.uint32, "s32": np.int32, "b32": np.uint32, "f32": np.float32, "f16x2": np.uint32,
    "bf16x2": np.uint32, "tf32": np.uint32, "u64": np.uint64, "s64": np.int64, "b64": np.uint64, "f64": np.float64,
}  # fmt: skip
"""The dtype of an array for registers of each type; bf16 is stored as its bits."""

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"


def kernel(body, parameters, head=""):
    """Return the kernel with that body; `parameters` are names of pointers."""
    declared = ", ".join(f".param .u64 {name}" for name in parameters)
    return _compiled(f"{HEAD}{head}.visible .entry k({declared}) {{\n{body}\n}}")


@functools.cache
def _compiled(text):
    return simulator.Module.from_ptx(text).kernel("k")


def apply(code, output, **inputs):
    """Return what `code` leaves in ``%d``.

    Parameters
    ----------
    code
        Instructions on the registers ``%d`` and one per input (``%a`` for ``a``); `%t` (b32) and `%w` (b64) are free.
    output
        The type of ``%d``.
    inputs
        Arrays of one length; booleans become predicates.
    """
    arrays = {name: np.ascontiguousarray(values) for name, values in inputs.items()}
    lengths = {values.size for values in arrays.values()}
    (length,) = lengths
    result = np.zeros(length, np.uint8 if output == "pred" else DTYPES[output])
    text = _wrapped(code, output, tuple((name, values.dtype.str) for name, values in arrays.items()))
    launched = kernel(text, ("d", *arrays)).launch(
        1, length, (result, *(values.view(np.uint8) if values.dtype == np.bool_ else values for values in arrays.values()))
    )
    assert launched.status == "ok", launched.findings
    return result.astype(np.bool_) if output == "pred" else result


def _wrapped(code, output, inputs):
    """Return the body that loads the inputs, runs `code`, and stores ``%d``."""
    lines = [".reg .b32 %lane, %t; .reg .b64 %p, %w; .reg .b16 %byte;", "mov.u32 %lane, %tid.x;"]
    for name, dtype in inputs:
        size = np.dtype(dtype).itemsize
        lines += [f".reg .{_register(dtype)} %{name};", f"ld.param.u64 %p, [{name}]; mad.wide.u32 %p, %lane, {size}, %p;"]
        if np.dtype(dtype) == np.bool_:
            lines += [f"ld.global.u8 %byte, [%p]; setp.ne.u16 %{name}, %byte, 0;"]
        else:
            lines += [f"ld.global.{_memory_type(dtype)} %{name}, [%p];"]
    bits = BITS[output]
    lines += [f".reg .{'pred' if output == 'pred' else f'b{max(16, bits)}'} %d;", code]
    size = max(1, bits // 8)
    lines += [f"ld.param.u64 %p, [d]; mad.wide.u32 %p, %lane, {size}, %p;"]
    if output == "pred":
        lines += ["selp.u16 %byte, 1, 0, %d; st.global.u8 [%p], %byte;"]
    else:
        lines += [f"st.global.b{bits} [%p], %d;"]
    return "\n".join([*lines, "ret;"])


def _register(dtype):
    dtype = np.dtype(dtype)
    return "pred" if dtype == np.bool_ else f"b{max(16, 8 * dtype.itemsize)}"


def _memory_type(dtype):
    dtype = np.dtype(dtype)
    return ("s8" if dtype.kind == "i" else "u8") if dtype.itemsize == 1 else f"b{8 * dtype.itemsize}"
