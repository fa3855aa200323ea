"""`Op`: the contract that every variant of an operation must keep, read off its plain definition."""

from __future__ import annotations

import inspect
import math
import typing
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.dims import evaluate, names_in, shape_of, solve
from registry.dtypes import DTYPES
from registry.error_law import Elementwise, ErrorLaw
from registry.errors import ContractError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Argument", "Direction", "Op", "Role"]

Dims = dict[str, int]


class Role(Enum):
    """What a call does with an argument."""

    INPUT = "input"
    OUTPUT = "output"
    INOUT = "inout"


class Direction(Enum):
    """Which pass of a training step an op belongs to."""

    FORWARD = "forward"
    BACKWARD = "backward"
    UPDATE = "update"


@dataclass(frozen=True)
class Argument:
    """One array of a call.

    Attributes
    ----------
    dims : str
        Shape as space-separated expressions over named dims, such as ``"B T 3*H*D"``.
    dtype : str
        A numpy dtype name, or ``"float"`` for the dtype of the problem.
    role : Role
    """

    name: str
    dims: str
    dtype: str
    role: Role

    def shape(self, dims: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape under bound `dims`."""
        return shape_of(self.dims, dims)

    def numpy_dtype(self, dtype: str = "float32") -> np.dtype[Any]:
        """Return the dtype of this argument in a problem of `dtype`."""
        return np.dtype(dtype if self.dtype == "float" else self.dtype)


def _array_annotation(name: str, annotation: Any) -> tuple[str, str]:  # noqa: ANN401 (jaxtyping makes classes at run time)
    dims, dtypes = getattr(annotation, "dim_str", None), getattr(annotation, "dtypes", None)
    if dims is None or dtypes is None:
        raise ContractError(f"argument {name!r} needs a jaxtyping annotation such as Float[Array, 'N C'], not {annotation!r}")
    return dims, dtypes[0] if len(dtypes) == 1 else "float"


@dataclass(frozen=True, eq=False)
class Op:
    """An operation: its definition, its oracle, and everything the harness derives checks and races from.

    Parameters
    ----------
    definition : callable
        Plain numpy, float64 inside. Its positional parameters are the inputs and in-outs, its keyword-only ones
        the parameters; array annotations (jaxtyping) carry dims and dtypes. ``Float`` stands for the problem's dtype.
    outputs : sequence of str
        Names of the returned arrays, in order. One that is also a parameter is an in-out.
    family : str
        The folder under ``kernels/``; ``--op FAMILY`` selects all its directions.
    direction : Direction
    oracle : callable
        ``oracle(torch, *inputs, *inouts, **params) -> tuple of tensors``, independent of the definition. Backward ops
        use autograd of the forward oracle.
    domain : mapping of str to range
        The values the fuzzer may bind each dim to.
    flops : callable
        Floating-point operations of one call, of the dims by keyword.
    examples : mapping of str to dict
        Named dims that are worth racing, for an op that no model calls. The calls of a model are its own workloads.
    touched : mapping of str to str
        Arguments of which a call touches only a part (rows of an embedding), and the dim expression of its elements.
    params : mapping
        Per keyword parameter: a tuple of values to draw from, or a dim expression (``"H"``) it always equals.
    integers : mapping of str to str
        Integer arguments and the dim expression their values stay below (token ids).
    saved : callable, optional
        ``saved(**drawn inputs, **params)`` returns the arguments that the forward pass would have saved, such as
        ``mean`` and ``rstd``, or constrains drawn ones (a second moment is never negative).
    eager : callable, optional
        ``eager(torch, *inputs, *inouts, **params)`` prepares torch's own way of doing this op and returns the call to be
        timed, without arguments: for a backward op the graph is built first and only its gradient is timed. Without it
        the oracle is timed.
    dtypes : tuple of str
        What its problems may be stored in.
    error : ErrorLaw

    Raises
    ------
    ContractError
        The definition's signature, outputs, domain and params do not fit together.
    """

    definition: Callable[..., Any]
    outputs: Sequence[str]
    family: str
    direction: Direction
    oracle: Callable[..., Any]
    domain: Mapping[str, range]
    flops: Callable[..., float]
    examples: Mapping[str, Dims] = field(default_factory=dict)
    touched: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, tuple[Any, ...] | str] = field(default_factory=dict)
    integers: Mapping[str, str] = field(default_factory=dict)
    saved: Callable[..., Mapping[str, Any]] | None = None
    eager: Callable[..., Callable[[], Any]] | None = None
    dtypes: tuple[str, ...] = DTYPES
    error: ErrorLaw = field(default_factory=Elementwise)
    arguments: tuple[Argument, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", self._read_arguments())
        mentioned = {name for a in self.arguments for part in a.dims.split() for name in names_in(part)}
        if missing := mentioned - set(self.domain):
            raise ContractError(f"op {self.name!r}: dims {sorted(missing)} have no range in domain={dict(self.domain)}")
        keywords = {p.name for p in self._signature.parameters.values() if p.kind is p.KEYWORD_ONLY}
        if keywords != set(self.params):
            raise ContractError(
                f"op {self.name!r}: the definition takes {sorted(keywords)} by keyword, params has {sorted(self.params)}"
            )

        for label, dims in self.examples.items():
            if set(dims) != set(self.domain):
                raise ContractError(
                    f"op {self.name!r}: example {label!r} binds {sorted(dims)}, domain has {sorted(self.domain)}"
                )
        if unknown := set(self.touched) - {a.name for a in self.arguments}:
            raise ContractError(f"op {self.name!r}: touched names {sorted(unknown)}, which are no arguments")

    @property
    def name(self) -> str:
        """The name of the definition."""
        return str(self.definition.__name__)

    @property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.definition)

    def _read_arguments(self) -> tuple[Argument, ...]:
        hints = typing.get_type_hints(self.definition)
        returned = hints.pop("return", None)
        kinds = typing.get_args(returned) if typing.get_origin(returned) is tuple else (returned,)
        if len(kinds) != len(self.outputs):
            raise ContractError(
                f"op {self.name!r}: the definition returns {len(kinds)} arrays, outputs names {len(self.outputs)}"
            )
        positional = [p.name for p in self._signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]
        inputs = [Argument(n, *_array_annotation(n, hints[n]), Role.INPUT) for n in positional if n not in self.outputs]
        returns = [
            Argument(n, *_array_annotation(n, kind), Role.INOUT if n in positional else Role.OUTPUT)
            for n, kind in zip(self.outputs, kinds, strict=True)
        ]
        order = list(Role)
        return tuple(sorted([*inputs, *returns], key=lambda a: order.index(a.role)))

    def with_role(self, *roles: Role) -> tuple[Argument, ...]:
        """Return the arguments of the given roles, in call order."""
        return tuple(a for a in self.arguments if a.role in roles)

    def bound_params(self, dims: Mapping[str, int]) -> dict[str, int]:
        """Return the parameters that follow from the dims, such as ``num_heads`` from H."""
        return {n: shape_of(v, dims)[0] for n, v in self.params.items() if isinstance(v, str)}

    def bytes_moved(self, dims: Mapping[str, int], dtype: str = "float32", params: Mapping[str, Any] | None = None) -> int:
        """Return the bytes that a call must read or write at least.

        Each input is read once, each output is written once. An in-out is read and written, unless the parameter `accumulate`
        (or `accumulate_wte` for the in-out ``dwte``) is False: then it is only written, and written whole.

        Parameters
        ----------
        dims : mapping of str to int
        dtype : str
            Dtype of the problem.
        params : mapping, optional
            Parameters of the call.
        """
        total = 0
        for argument in self.arguments:
            elements = math.prod(argument.shape(dims))
            part = evaluate(self.touched[argument.name], dims) if argument.name in self.touched else elements
            if argument.role is Role.INOUT:
                part = 2 * part if self._is_read(argument.name, params or {}) else elements
            total += part * argument.numpy_dtype(dtype).itemsize
        return total

    @staticmethod
    def _is_read(inout: str, params: Mapping[str, Any]) -> bool:
        return bool(params.get(f"accumulate_{inout.removeprefix('d')}", params.get("accumulate", True)))

    def solve(self, shapes: Mapping[str, Sequence[int]], known: Mapping[str, Any] | None = None) -> Dims:
        """Return the values of the dims at which the arguments have the given shapes.

        Parameters
        ----------
        shapes : mapping of str to sequence of int
            Argument name to shape; outputs may be left out where the other arguments determine every dim.
        known : mapping, optional
            Values of dims that shapes do not determine (``V``, where only ``V+P`` is a size), and parameters of the call, of
            which those that equal a dim expression count (``num_heads`` is ``H``).

        Returns
        -------
        dict of str to int
            Every dim of the op, in the order of its domain.

        Raises
        ------
        ContractError
            A shape has the wrong number of axes, two shapes contradict each other, or a dim stays open.
        UnknownNameError
            The op has no argument of that name.
        """
        arguments = {a.name: a for a in self.arguments}
        equations: list[tuple[str, int]] = []
        for name, shape in shapes.items():
            if name not in arguments:
                raise UnknownNameError(f"argument of {self.name}", name, arguments)
            wanted = arguments[name].dims
            if len(wanted.split()) != len(shape):
                raise ContractError(f"{self.name}: argument {name!r} is {wanted!r}, but its shape is {tuple(shape)}")
            equations += zip(wanted.split(), shape, strict=True)
        expressions = {**{name: name for name in self.domain}, **{n: v for n, v in self.params.items() if isinstance(v, str)}}
        equations += [(expressions[name], value) for name, value in (known or {}).items() if name in expressions]
        try:
            dims = solve(equations)
        except ContractError as error:
            raise ContractError(f"{self.name}: {error}") from None
        if missing := [name for name in self.domain if name not in dims]:
            raise ContractError(f"{self.name}: the given shapes do not determine {', '.join(missing)}; known: {dims}")
        return {name: dims[name] for name in self.domain}
