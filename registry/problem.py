"""`Problem`: an op with values for its dims, and the recipe of its arrays. It prints as one line that can be pasted."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.dtypes import DTYPES
from registry.errors import RequestError, UnknownNameError
from registry.renamed import PARAMS

if TYPE_CHECKING:
    from registry.op import Op

__all__ = ["ALIGNMENTS", "DISTRIBUTIONS", "SPECIAL_VALUES", "Problem", "SpecialValue", "parse_problem"]

DISTRIBUTIONS = ("normal", "uniform", "offset", "wide", "tiny", "huge", "zeros", "constant", "integers")
ALIGNMENTS = ("aligned", "offset")
SPECIAL_VALUES = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "-0": -0.0}


@dataclass(frozen=True)
class SpecialValue:
    """One special value that is put into one element of one argument.

    Attributes
    ----------
    argument : int
        Number of the argument.
    where : float
        Position of the element, as a fraction of the argument's size.
    value : str
        A key of `SPECIAL_VALUES`.
    """

    argument: int
    where: float
    value: str

    def __str__(self) -> str:
        return f"{self.argument}@{self.where:g}:{self.value}"


@dataclass(frozen=True)
class Problem:
    """One test problem of an op.

    The printed line keeps older words for three fields: ``layout=``, ``family=`` and ``spikes=``. A stored line may hold a
    parameter's earlier name (`registry.renamed`).

    Attributes
    ----------
    dims, params : dict
        Values of the dims and of the parameters.
    dtype : {"float32", "bfloat16"}
        Dtype of the float arguments. An argument with a dtype of its own keeps that dtype.
    alignment : {"aligned", "offset"}
        Buffers start at a multiple of 64 bytes, or one element after it.
    distribution : str
        The distribution of the values; one of `DISTRIBUTIONS`.
    seed : int
        Seed of the values.
    special_values : tuple of SpecialValue
        At most four.
    """

    op: str
    dims: dict[str, int]
    params: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    alignment: str = "aligned"
    distribution: str = "normal"
    seed: int = 0
    special_values: tuple[SpecialValue, ...] = ()

    def __str__(self) -> str:
        words = [f"{k}={v!r}" for k, v in {**self.dims, **self.params}.items()]
        words += [f"dtype={self.dtype}", f"layout={self.alignment}", f"family={self.distribution}", f"seed={self.seed}"]
        if self.special_values:
            words.append("spikes=" + ",".join(map(str, self.special_values)))
        return " ".join(words)


def parse_problem(op: Op, line: str) -> Problem:
    """Return the problem that ``str(problem)`` printed.

    Raises
    ------
    RequestError
        A word has no ``=``, a name is unknown, a value has the wrong kind, or a dim has no value.
    """
    read: dict[str, Any] = {
        **dict.fromkeys(op.domain, int),
        **dict.fromkeys(op.params, ast.literal_eval),
        "dtype": lambda text: _one_of("dtype", text, DTYPES),
        "layout": lambda text: _one_of("layout", text, ALIGNMENTS),
        "family": lambda text: _one_of("family", text, DISTRIBUTIONS),
        "seed": int,
        "spikes": lambda text: tuple(map(_special_value, text.split(","))),
    }
    values: dict[str, Any] = {}
    for word in line.split():
        name, _, text = word.partition("=")
        if name not in read and PARAMS.get(name) in op.params:
            name = PARAMS[name]
        if name not in read:
            raise UnknownNameError(f"word in a problem of {op.name}", name, read)
        if name in values:
            raise RequestError(f"{name!r} is given twice in a problem of {op.name}")
        try:
            values[name] = read[name](text)
        except (ValueError, SyntaxError) as error:
            raise RequestError(f"{word!r} in a problem of {op.name}: write NAME=VALUE, such as N=3") from error
    for name in op.domain.keys() & values.keys():
        if values[name] < 0:
            raise RequestError(f"'{name}={values[name]}' in a problem of {op.name}: give a whole number from 0 up")
    if not 0 <= values.get("seed", 0) < 1 << 64:
        raise RequestError(f"'seed={values['seed']}' in a problem of {op.name}: give a whole number from 0 up")
    if missing := set(op.domain) - set(values):
        raise RequestError(f"problem of {op.name}: no value for {', '.join(sorted(missing))}")
    dims = {n: values.pop(n) for n in op.domain}
    defaults = {n: v[0] for n, v in op.params.items() if not isinstance(v, str)}
    params = {n: values.pop(n, defaults.get(n)) for n in op.params} | op.bound_params(dims)
    return Problem(
        op.name,
        dims,
        params,
        dtype=values.get("dtype", op.dtypes[0]),
        alignment=values.get("layout", ALIGNMENTS[0]),
        distribution=values.get("family", DISTRIBUTIONS[0]),
        seed=values.get("seed", 0),
        special_values=values.get("spikes", ()),
    )


def _one_of(kind: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise UnknownNameError(kind, text, choices)
    return text


def _special_value(text: str) -> SpecialValue:
    position, _, value = text.partition(":")
    argument, _, where = position.partition("@")
    if value not in SPECIAL_VALUES:
        raise UnknownNameError("special value", value, SPECIAL_VALUES)
    return SpecialValue(int(argument), float(where), value)
