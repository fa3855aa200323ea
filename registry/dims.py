"""Symbolic dimensions: ``"B T 3*H*D"`` becomes a shape once B, T, H and D have values.

Only names, whole numbers, ``+`` and ``*`` are understood: enough for packed QKV and padded vocabularies.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING

from registry.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["evaluate", "names_in", "shape_of"]


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
        A name without a value, or an operator other than ``+`` and ``*``.
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
    """Return the shape that a space-separated dim string stands for."""
    return tuple(evaluate(part, dims) for part in spec.split())
