"""`Builder` records a model's calls of ops over named arrays. It allocates no memory and chooses no variants."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from models.tensors import Buffer
from registry.errors import ContractError, UnknownNameError
from registry.op import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.tensors import View
    from registry.op import Op
    from registry.variant import Variant

__all__ = ["ACCUMULATE", "RUNTIME_PARAMS", "Builder", "Call", "MicroStep"]


class MicroStep(Enum):
    """Parameter values that depend on the number of the micro-step in its update."""

    ACCUMULATE = "False in the first micro-step of an update, True in the later ones"


ACCUMULATE: Final = MicroStep.ACCUMULATE

# Parameters of the update that change from step to step, with example values for the `refuses` functions of variants.
RUNTIME_PARAMS = {"learning_rate": 1e-3, "grad_scale": 1.0, "step": 1, "rounding_seed": 1}


@dataclass(frozen=True, eq=False)
class Call:
    """One recorded call of an op.

    Attributes
    ----------
    op : Op
    label : str
        Name of the call among the calls of its op, such as ``qkv`` for `matmul`; "" for an op with one kind of call.
    where : str
        Place of the call in the model, for messages: ``"layer 3"``.
    dims : mapping of str to int
        Values of the op's dims.
    arrays : mapping of str to View
        The array of each argument, by name.
    params : mapping
        Parameters with known values. `RUNTIME_PARAMS` get their values when the call runs.
    dtype : str
        Dtype of the problem.
    """

    op: Op
    label: str
    where: str
    dims: Mapping[str, int]
    arrays: Mapping[str, View]
    params: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"

    def in_micro_step(self, *, accumulate: bool) -> Call:
        """Return the call of the first micro-step of an update, or of a later one, which accumulates gradients."""
        values = {name: accumulate if value is ACCUMULATE else value for name, value in self.params.items()}
        return dataclasses.replace(self, params=values)

    def all_params(self) -> dict[str, Any]:
        """Return a value for every parameter: known values, values that equal a dim, and examples of run-time values."""
        runtime = {name: value for name, value in RUNTIME_PARAMS.items() if name in self.op.params}
        return {**runtime, **self.op.bound_params(self.dims), **self.params}

    def refusals(self, variant: Variant) -> list[str]:
        """Return the reasons why a variant does not support this call. An empty list means that it does."""
        return variant.refusals(self.dims, self.all_params(), self.dtype)

    def __str__(self) -> str:
        name = f"{self.op.name}/{self.label}" if self.label else self.op.name
        return f"{name} ({self.where})" if self.where else name


class Builder:
    """Records calls in order, and makes a new transient buffer for each output without an array.

    Parameters
    ----------
    ops : mapping of str to Op
        The ops by name, as `registry.discover().ops` holds them.
    dtype : {"float32", "bfloat16"}
        Dtype of activations, parameters and gradients.
    """

    def __init__(self, ops: Mapping[str, Op], dtype: str = "float32") -> None:
        self.ops, self.dtype = ops, dtype
        self._calls: list[Call] = []

    def take(self) -> list[Call]:
        """Return the calls that were recorded since the last `take`."""
        calls, self._calls = self._calls, []
        return calls

    def call(self, op: str, label: str = "", where: str = "", /, **given: Any) -> tuple[View, ...]:
        """Record one call and return its outputs.

        Parameters
        ----------
        op : str
            Name of the op.
        label : str
            Name of the call among the op's calls.
        where : str
            Place of the call in the model, for messages: ``"layer 3"``.
        **given
            By name: a `View` for each input and in-out (and for an output in an existing buffer), values of parameters, and
            values of dims that the shapes do not determine.

        Returns
        -------
        tuple of View
            The op's outputs, without the in-outs, in the order of its arguments.

        Raises
        ------
        UnknownNameError
            The op does not exist, or it has no argument, parameter or dim of a given name.
        ContractError
            An input or in-out is missing, or the shapes or dtypes do not fit.
        """
        if op not in self.ops:
            raise UnknownNameError("op", op, self.ops)
        contract = self.ops[op]
        arguments = {a.name: a for a in contract.arguments}
        names = {*arguments, *contract.params, *contract.domain}
        for name in given:
            if name not in names:
                raise UnknownNameError(f"argument, parameter or dim of {op}", name, names)
        arrays = {name: given[name] for name in arguments if name in given}
        for argument in contract.with_role(Role.INPUT, Role.INOUT):
            if argument.name not in arrays:
                raise ContractError(f"call of {op}: no array for {argument.name!r}")
        dims = contract.solve({name: view.shape for name, view in arrays.items()}, given)
        for name, argument in arguments.items():
            dtype = str(argument.numpy_dtype(self.dtype))
            if name not in arrays:
                title = " ".join(part for part in (where, label or op, name) if part)
                arrays[name] = Buffer(title, argument.shape(dims), dtype=dtype).whole
            elif arrays[name].buffer.dtype != dtype:
                raise ContractError(f"call of {op}: argument {name!r} is {dtype}, its array is {arrays[name].buffer.dtype}")
        params = {
            name: given[name] for name, values in contract.params.items() if name in given and not isinstance(values, str)
        }
        ordered = {name: arrays[name] for name in arguments}
        self._calls.append(Call(contract, label, where, dims, ordered, params, self.dtype))
        return tuple(ordered[a.name] for a in contract.with_role(Role.OUTPUT))
