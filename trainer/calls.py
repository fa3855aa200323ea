"""Calls of ops: `Call` is a planned call, `BoundCall` has its memory and its variant and can run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.errors import ContractError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from registry.op import Op
    from registry.variant import Variant
    from trainer.arena import Arena, View

__all__ = ["BoundCall", "Call", "bind"]


@dataclass(frozen=True, eq=False)
class Call:
    """One line of a program.

    Attributes
    ----------
    op, label : str
        The op, and which of its calls in a training step this is (``matmul``, ``qkv``), as `Op.shapes` names them.
    where : str
        For people: ``"layer 3"``.
    dims : mapping of str to int
        The sizes that the op gives its arguments here.
    arrays : mapping of str to View
        Argument name to memory.
    params : mapping
        Parameters known in advance; the others are given when it runs.
    dtype : str
        Of the problem.
    """

    op: Op
    label: str
    where: str
    dims: Mapping[str, int]
    arrays: Mapping[str, View]
    params: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"

    def refusals(self, variant: Variant, later: Mapping[str, Any]) -> list[str]:
        """Return why a variant does not take this problem; `later` are examples of parameters that come when it runs."""
        known = {name: value for name, value in later.items() if name in self.op.params}
        return variant.refusals(self.dims, {**known, **self.op.bound_params(self.dims), **self.params}, self.dtype)

    def __str__(self) -> str:
        name = f"{self.op.name}/{self.label}" if self.label else self.op.name
        return f"{name} ({self.where})" if self.where else name


@dataclass(frozen=True, eq=False)
class BoundCall:
    """A variant with its arrays: call it, and the call is done."""

    call: Call
    variant: Variant
    arrays: tuple[NDArray[Any], ...]
    params: Mapping[str, Any]

    def __call__(self, **more: Any) -> None:
        """Run it; `more` are the parameters that were left for later."""
        self.variant.function(*self.arrays, **self.params, **more)


def _shaped(array: NDArray[Any], call: Call, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return `array` as `shape`: rows may be split into batch and time or joined, nothing else."""
    if array.size != _product(shape) or (array.shape[-1] != shape[-1] and min(array.ndim, len(shape)) > 1):
        raise ContractError(f"{call}: argument {name!r} is {shape} under {dict(call.dims)}, its memory is {array.shape}")
    return array.reshape(shape)


def _product(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def bind(call: Call, variant: Variant, arena: Arena, threads: int, later: Mapping[str, Any]) -> BoundCall:
    """Give a call its variant and its arrays.

    Parameters
    ----------
    later : mapping
        Examples of the parameters that come when it runs, for the variant to refuse; those that the op has not are left out.

    Raises
    ------
    ContractError
        The arrays do not have the shapes or dtypes of the op's arguments.
    RequestError
        The variant refuses this problem.
    """
    arrays = {}
    for argument in call.op.arguments:
        array = _shaped(arena.array(call.arrays[argument.name]), call, argument.name, argument.shape(call.dims))
        if array.dtype != (wanted := argument.numpy_dtype(call.dtype)):
            raise ContractError(f"{call}: argument {argument.name!r} is {wanted}, its memory is {array.dtype}")
        arrays[argument.name] = array
    params = {**call.op.bound_params(call.dims), **call.params}
    if missing := set(call.op.params) - set(params) - set(later):
        raise ContractError(f"{call}: no value for {', '.join(sorted(missing))}")
    if reasons := call.refusals(variant, later):
        why = "; ".join(reasons)
        raise RequestError(f"{variant} refuses {call} with {dict(call.dims)}: {why}; choose another with --kernels")
    if size := variant.workspace_size(call.dims, threads):
        params["workspace"] = arena.workspace()[:size]
    return BoundCall(call, variant, tuple(arrays.values()), params)
