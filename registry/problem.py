"""`Problem`: an op with bound dims, drawn as a descriptor, printed as one line that can be pasted back."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.dtypes import DTYPES
from registry.errors import RequestError, UnknownNameError

if TYPE_CHECKING:
    from registry.op import Op

__all__ = ["FAMILIES", "LAYOUTS", "Problem", "Spike"]

FAMILIES = ("normal", "uniform", "offset", "wide", "tiny", "huge", "zeros", "constant", "integers")
LAYOUTS = ("aligned", "offset")
SPIKES = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "-0": -0.0}


@dataclass(frozen=True)
class Spike:
    """One special value put into one element: argument number, position as a fraction of its size, and the value."""

    argument: int
    where: float
    value: str

    def __str__(self) -> str:
        return f"{self.argument}@{self.where:g}:{self.value}"


@dataclass(frozen=True)
class Problem:
    """One drawn case.

    Attributes
    ----------
    dims, params : dict
        Bound dims and parameters.
    dtype : {"float32", "bfloat16"}
        What floats are stored in, but for arguments with a dtype of their own.
    layout : {"aligned", "offset"}
        64-byte aligned buffers, or buffers that start one element later.
    family : str
        How values are drawn; one of `FAMILIES`.
    seed : int
        Seed of the values.
    spikes : tuple of Spike
        At most four special values.
    """

    op: str
    dims: dict[str, int]
    params: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    layout: str = "aligned"
    family: str = "normal"
    seed: int = 0
    spikes: tuple[Spike, ...] = ()

    def __str__(self) -> str:
        words = [f"{k}={v!r}" for k, v in {**self.dims, **self.params}.items()]
        words += [f"dtype={self.dtype}", f"layout={self.layout}", f"family={self.family}", f"seed={self.seed}"]
        if self.spikes:
            words.append("spikes=" + ",".join(map(str, self.spikes)))
        return " ".join(words)


def parse_problem(op: Op, line: str) -> Problem:
    """Read back what ``str(problem)`` printed.

    Raises
    ------
    RequestError
        A word without ``=``, an unknown name, a value of the wrong kind, or a missing dim.
    """
    read: dict[str, Any] = {
        **dict.fromkeys(op.domain, int),
        **dict.fromkeys(op.params, ast.literal_eval),
        "dtype": lambda text: _one_of("dtype", text, DTYPES),
        "layout": lambda text: _one_of("layout", text, LAYOUTS),
        "family": lambda text: _one_of("family", text, FAMILIES),
        "seed": int,
        "spikes": lambda text: tuple(map(_spike, text.split(","))),
    }
    given: dict[str, Any] = {}
    for word in line.split():
        name, _, text = word.partition("=")
        if name not in read:
            raise UnknownNameError(f"word in a problem of {op.name}", name, read)
        try:
            given[name] = read[name](text)
        except (ValueError, SyntaxError) as error:
            raise RequestError(f"{word!r} in a problem of {op.name}: write NAME=VALUE, such as N=3") from error
    if missing := set(op.domain) - set(given):
        raise RequestError(f"problem of {op.name}: no value for {', '.join(sorted(missing))}")
    dims = {n: given.pop(n) for n in op.domain}
    drawn = {n: v[0] for n, v in op.params.items() if not isinstance(v, str)}
    params = {n: given.pop(n, drawn.get(n)) for n in op.params} | op.bound_params(dims)
    return Problem(op.name, dims, params, **{"dtype": op.dtypes[0], **given})


def _one_of(kind: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise UnknownNameError(kind, text, choices)
    return text


def _spike(text: str) -> Spike:
    position, _, value = text.partition(":")
    argument, _, where = position.partition("@")
    if value not in SPIKES:
        raise UnknownNameError("spike", value, SPIKES)
    return Spike(int(argument), float(where), value)
