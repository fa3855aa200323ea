"""The calls of a contestant: a variant of the registry, torch's own implementation of the op, or a control."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.proof.reference.oracle import reference_parameters
from registry.devices import Cpu
from registry.dtypes import is_bfloat16, is_float

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from registry.devices import DeviceMemory
    from registry.op import Op
    from registry.variant import Variant

__all__ = ["bind_empty", "bind_torch", "bind_variant", "both", "oracle_outputs", "workspace_for"]

CPU_MEMORY = Cpu()


def bind_variant(
    variant: Variant, arrays: Mapping[str, NDArray[Any]], params: Mapping[str, Any], workspace: NDArray[Any] | None
) -> Callable[[], object]:
    """Return the call of `variant` on one set of arguments."""
    keywords = dict(params) if workspace is None else {**params, "workspace": workspace}
    return partial(variant.function, *(arrays[a.name] for a in variant.op.arguments), **keywords)


def workspace_for(
    variant: Variant, dims: Mapping[str, int], threads: int, device: DeviceMemory = CPU_MEMORY
) -> NDArray[Any] | None:
    """Return the scratch memory that `variant` declares, full of NaN; None if it declares none."""
    if variant.workspace is None:
        return None
    scratch = device.empty((max(variant.workspace_size(dims, threads), 1),), np.float32)
    scratch.fill(np.nan)
    return scratch


def _nothing(*_: object, **__: object) -> None:
    pass


def bind_empty(op: Op, arrays: Mapping[str, NDArray[Any]], params: Mapping[str, Any]) -> Callable[[], object]:
    """Return a call with the same arguments that does nothing: its time is the overhead of a call and the clock."""
    return partial(_nothing, *(arrays[a.name] for a in op.arguments), **params)


def both(first: Callable[[], object], second: Callable[[], object]) -> Callable[[], object]:
    """Return a call that makes both calls, and therefore takes twice as long as one."""

    def calls() -> None:
        first()
        second()

    return calls


def _shared(torch: Any, array: NDArray[Any]) -> Any:  # noqa: ANN401 (torch is passed, not imported; its tensor)
    """Return a tensor that shares the memory of an array on the CPU or a GPU.

    torch accepts no bfloat16 array of numpy, so such an array is passed as int16.
    """
    accepted = array.view(np.int16) if is_bfloat16(array) else array
    tensor = torch.from_numpy(accepted) if isinstance(accepted, np.ndarray) else torch.as_tensor(accepted, device="cuda")
    return tensor.view(torch.bfloat16) if is_bfloat16(array) else tensor


def bind_torch(op: Op, arrays: Mapping[str, NDArray[Any]], params: Mapping[str, Any]) -> Callable[[], object]:
    """Return torch's call on one set of arguments; its tensors share the arrays' memory."""
    import torch

    tensors = [_shared(torch, arrays[name]) for name in reference_parameters(op)]
    if op.eager is not None:
        return op.eager(torch, *tensors, **params)
    return partial(op.oracle, torch, *tensors, **params)


def oracle_outputs(
    op: Op, arrays: Mapping[str, NDArray[Any]], params: Mapping[str, Any], *, double: bool
) -> dict[str, NDArray[Any]]:
    """Return the oracle's outputs, computed in float64 if `double` and in float32 otherwise."""
    import torch

    dtype = np.float64 if double else np.float32
    inputs = (arrays[name] for name in reference_parameters(op))
    tensors = [torch.from_numpy(a.astype(dtype) if is_float(a.dtype) else a.copy()) for a in inputs]
    outputs = op.oracle(torch, *tensors, **params)
    return {name: output.detach().numpy() for name, output in zip(op.outputs, outputs, strict=True)}
