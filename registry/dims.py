"""Symbolic dimensions: ``"B T 3*H*D"`` becomes a shape once B, T, H and D have values.

An expression holds names, whole numbers, ``+`` and ``*``: enough for packed QKV and padded vocabularies. `solve` does the
reverse: it computes the values of the dims from the shapes of arrays.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING

from registry.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["evaluate", "names_in", "shape_of", "solve"]


@cache
def _parse(expression: str) -> ast.expr:
    try:
        return ast.parse(expression, mode="eval").body
    except SyntaxError as error:
        message = f"dimension {expression!r} is not a sum or product of names and whole numbers"
        raise ContractError(message) from error


def names_in(expression: str) -> frozenset[str]:
    """Return the dim names that `expression` mentions."""
    return frozenset(node.id for node in ast.walk(_parse(expression)) if isinstance(node, ast.Name))


def evaluate(expression: str, dims: Mapping[str, int]) -> int:
    """Return the value of one dimension.

    Raises
    ------
    ContractError
        A name has no value, or an operator is neither ``+`` nor ``*``.
    """

    def value(node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int(number)):
                return number
            case ast.Name(id=name):
                if name not in dims:
                    raise ContractError(f"dimension {name!r} of {expression!r} has no value; given: {dict(dims)}")
                return dims[name]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return value(left) + value(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return value(left) * value(right)
        raise ContractError(f"dimension {expression!r}: only names, whole numbers, + and * are understood")

    return value(_parse(expression))


def shape_of(spec: str, dims: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape of a space-separated string of dim expressions."""
    return tuple(evaluate(part, dims) for part in spec.split())


def _coefficients(expression: str, name: str, dims: Mapping[str, int]) -> tuple[int, int]:
    """Return `a` and `b` such that `expression` is ``a + b * name``; all other names have values in `dims`.

    Raises
    ------
    ContractError
        The expression is not linear in `name`; ``C*C`` is an example.
    """
    at = [evaluate(expression, {**dims, name: value}) for value in (0, 1, 2)]
    constant, slope = at[0], at[1] - at[0]
    if at[2] != constant + 2 * slope:
        raise ContractError(f"dimension {expression!r} is not linear in {name!r}, so its size does not give {name!r}")
    return constant, slope


def solve(equations: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the values of all dims in the equations.

    Parameters
    ----------
    equations : iterable of (str, int)
        Dim expressions with their sizes, such as ``("3*H*D", 2304)`` and ``("H", 12)``.

    Returns
    -------
    dict of str to int
        The value of each dim. The values satisfy every equation.

    Raises
    ------
    ContractError
        The equations contradict each other, do not determine a dim, or need a dim that is negative or no whole number.
    """
    equations = list(equations)
    dims: dict[str, int] = {}
    waiting = equations
    while waiting:
        later = []
        for expression, size in waiting:
            unknown = names_in(expression) - dims.keys()
            if len(unknown) > 1:
                later.append((expression, size))
            elif unknown:
                (name,) = unknown
                constant, slope = _coefficients(expression, name, dims)
                if slope == 0:
                    later.append((expression, size))
                    continue
                value, rest = divmod(size - constant, slope)
                if rest or value < 0:
                    raise ContractError(f"dimension {expression!r} cannot be {size} with {dims}: {name!r} is no whole number")
                dims[name] = value
        if len(later) == len(waiting):
            expression, _ = later[0]
            open_names = ", ".join(sorted(names_in(expression) - dims.keys()))
            raise ContractError(f"the given shapes do not determine {open_names} of dimension {expression!r}; known: {dims}")
        waiting = later
    for expression, size in equations:
        if (value := evaluate(expression, dims)) != size:
            raise ContractError(f"dimension {expression!r} is {value} with {dims}, but an array has {size} there")
    return dims
