"""Bind a recorded call to a variant and to arrays of the arena."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import ContractError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from models.builder import Call
    from registry.variant import Variant
    from trainer.program.arena import Arena

__all__ = ["BoundCall", "bind_call"]


@dataclass(frozen=True, eq=False)
class BoundCall:
    """A recorded call with its variant and its arrays. Calling the object runs the variant."""

    call: Call
    variant: Variant
    arrays: tuple[NDArray[Any], ...]
    params: Mapping[str, Any]

    def __call__(self, **more: Any) -> None:
        """Run the variant; `more` holds the parameters that are known only at run time, such as the learning rate."""
        self.variant.function(*self.arrays, **self.params, **more)


def bind_call(call: Call, variant: Variant, arena: Arena, threads: int) -> BoundCall:
    """Return `call` bound to `variant` and to its arrays in `arena`.

    Raises
    ------
    ContractError
        The arrays do not have the shapes or dtypes of the op's arguments.
    RequestError
        The variant refuses this problem.
    """
    arrays = {}
    for argument in call.op.arguments:
        array = arena.array(call.arrays[argument.name])
        if array.shape != (shape := argument.shape(call.dims)):
            raise ContractError(
                f"{call}: argument {argument.name!r} has shape {shape} under {dict(call.dims)}, its memory has {array.shape}"
            )
        if array.dtype != (wanted := argument.numpy_dtype(call.dtype)):
            raise ContractError(f"{call}: argument {argument.name!r} has dtype {wanted}, its memory has {array.dtype}")
        arrays[argument.name] = array
    params = {**call.op.bound_params(call.dims), **call.params}
    if missing := set(call.op.params) - set(call.all_params()):
        raise ContractError(f"{call}: no value for {', '.join(sorted(missing))}")
    if reasons := call.refusals(variant):
        why = "; ".join(reasons)
        raise RequestError(f"{variant} refuses {call} with {dict(call.dims)}: {why}; choose another with --kernels")
    if size := variant.workspace_size(call.dims, threads):
        params["workspace"] = arena.workspace()[:size]
    return BoundCall(call, variant, tuple(arrays.values()), params)
