"""`Op`: the contract of an operation, which all its variants must keep. Its arguments are read from the reference."""

from __future__ import annotations

import inspect
import math
import typing
from dataclasses import InitVar, dataclass, field
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
    """The use of an argument by a call."""

    INPUT = "input"
    OUTPUT = "output"
    INOUT = "inout"


class Direction(Enum):
    """The pass of a training step to which an op belongs."""

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
        """Return the shape at the values `dims`."""
        return shape_of(self.dims, dims)

    def numpy_dtype(self, dtype: str = "float32") -> np.dtype[Any]:
        """Return the dtype of this argument in a problem of `dtype`."""
        return np.dtype(dtype if self.dtype == "float" else self.dtype)


def _array_annotation(name: str, annotation: Any) -> tuple[str, str]:  # noqa: ANN401 (jaxtyping makes classes at run time)
    dims, dtypes = getattr(annotation, "dim_str", None), getattr(annotation, "dtypes", None)
    if dims is None or dtypes is None:
        raise ContractError(f"argument {name!r} needs a jaxtyping annotation such as Float[Array, 'N C'], not {annotation!r}")
    return dims, dtypes[0] if len(dtypes) == 1 else "float"


def _no_reference() -> None:
    """Stand for the reference of an op that gives none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """An operation: its reference, its oracle, and the data from which the harness derives checks and races.

    Parameters
    ----------
    reference : callable
        Plain numpy, float64 inside. Its positional parameters are the inputs and in-outs of the op, its
        keyword-only parameters are the parameters of the op. Array annotations (jaxtyping) hold dims and dtypes; ``Float``
        stands for the problem's dtype.
    outputs : sequence of str
        Names of the returned arrays, in order. An output that is also a parameter is an in-out.
    family : str
        The folder under ``kernels/``; ``--op FAMILY`` selects all its directions.
    direction : Direction
    oracle : callable
        ``oracle(torch, *inputs, *inouts, **params) -> tuple of tensors``, independent of the reference. The oracle
        of a backward op uses autograd of the forward oracle.
    domain : mapping of str to range
        The values of each dim that the fuzzer may draw.
    flops : callable
        ``flops(**dims)`` returns the number of floating-point operations of one call.
    examples : mapping of str to dict
        Named dims to race, for an op that no model calls. The calls of a model are workloads already.
    touched : mapping of str to str
        Arguments of which a call touches only a part (rows of an embedding), with the dim expression of the part's size.
    params : mapping
        Per keyword parameter: a tuple of values to draw from, or a dim expression (``"H"``) that gives the value.
    integers : mapping of str to str
        Integer arguments, such as token ids, with the dim expression of the exclusive upper bound of their values.
    saved : callable, optional
        ``saved(**drawn inputs, **params)`` returns the arguments that the forward pass saves, such as ``mean`` and
        ``rstd``, or makes drawn values valid (a second moment is never negative).
    eager : callable, optional
        ``eager(torch, *inputs, *inouts, **params)`` prepares torch's own implementation of this op and returns a function
        without arguments to be timed: for a backward op the graph is built first and only its gradient is timed. Default:
        the race times the oracle.
    dtypes : tuple of str
        Dtypes of its problems.
    error : ErrorLaw
    definition : callable, optional
        The name of `reference` in specs of earlier revisions, which ``harness.bench --compare`` reads.

    Raises
    ------
    ContractError
        There is no reference, or the reference's signature, outputs, domain and params do not fit together.
    """

    reference: Callable[..., Any] = field(default=_no_reference)
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
    definition: InitVar[Callable[..., Any] | None] = None

    def __post_init__(self, definition: Callable[..., Any] | None) -> None:
        object.__setattr__(self, "reference", definition or self.reference)
        if self.reference is _no_reference:
            raise ContractError(f"an op of family {self.family!r} has no reference; write reference=FUNCTION in its spec")
        object.__setattr__(self, "arguments", self._read_arguments())
        mentioned = {name for a in self.arguments for part in a.dims.split() for name in names_in(part)}
        if missing := mentioned - set(self.domain):
            raise ContractError(f"op {self.name!r}: dims {sorted(missing)} have no range in domain={dict(self.domain)}")
        keywords = {p.name for p in self._signature.parameters.values() if p.kind is p.KEYWORD_ONLY}
        if keywords != set(self.params):
            raise ContractError(
                f"op {self.name!r}: the reference takes {sorted(keywords)} by keyword, params has {sorted(self.params)}"
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
        """The name of the reference function."""
        return str(self.reference.__name__)

    @property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.reference)

    def _read_arguments(self) -> tuple[Argument, ...]:
        hints = typing.get_type_hints(self.reference)
        returned = hints.pop("return", None)
        kinds = typing.get_args(returned) if typing.get_origin(returned) is tuple else (returned,)
        if len(kinds) != len(self.outputs):
            raise ContractError(
                f"op {self.name!r}: the reference returns {len(kinds)} arrays, outputs names {len(self.outputs)}"
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
        """Return the parameters that the dims determine: H determines ``num_heads``."""
        return {n: shape_of(v, dims)[0] for n, v in self.params.items() if isinstance(v, str)}

    def bytes_moved(self, dims: Mapping[str, int], dtype: str = "float32", params: Mapping[str, Any] | None = None) -> int:
        """Return the least number of bytes that a call must read and write.

        A call reads each input once and writes each output once. It reads and writes an in-out, unless the parameter
        `accumulate` (or `accumulate_wte` for the in-out ``dwte``) is False: then it writes the whole in-out and reads none.

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
        """Return the values of the dims that give the arguments their shapes.

        Parameters
        ----------
        shapes : mapping of str to sequence of int
            Shape of each argument by name. Outputs may be left out if the other arguments determine every dim.
        known : mapping, optional
            Values of dims that the shapes do not determine (``V``, if only ``V+P`` is a size), and parameters of the call. Only
            parameters that equal a dim expression are used (``num_heads`` is ``H``).

        Returns
        -------
        dict of str to int
            Every dim of the op, in the order of its domain.

        Raises
        ------
        ContractError
            A shape has the wrong number of axes, two shapes contradict each other, or a dim is not determined.
        UnknownNameError
            The op has no argument of a given name.
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
