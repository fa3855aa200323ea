"""The arrays of a problem, drawn from its seed: the same for the battery, the race and a pasted line.

Each float argument follows the problem's distribution with probability 1/2 (at least one argument does) and is standard normal
otherwise, so that a kernel gets, for example, a wide input with an ordinary weight. With ``integers``, all arguments follow it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from registry.dims import evaluate
from registry.dtypes import BFLOAT16, is_float
from registry.errors import RequestError
from registry.op import Role
from registry.problem import SPECIAL_VALUES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from registry.op import Argument, Op
    from registry.problem import Problem

    Generator = np.random.Generator
    Values = dict[str, NDArray[Any]]

__all__ = ["change_one", "drawn_arguments", "materialise", "saved_by"]

MEAN = 1000.0  # of the distribution "offset": a variance computed as E[x²] - E[x]² loses all its digits
DECADES = 3.0  # of the distribution "wide": magnitudes from 1e-3 to 1e3
SMALL = 2.0**-36  # a product of three is still a normal float32
LARGE = 2.0**20  # exp of a product of two overflows, while float64 holds the product to less than 1
LARGEST_INTEGER = 8  # of the distribution "integers": sums of a thousand products stay below 2^24


def _normal(random: Generator, size: int) -> NDArray[Any]:
    return random.standard_normal(size, np.float32)


def _offset(random: Generator, size: int, mean: float) -> NDArray[Any]:
    drawn: NDArray[Any] = random.choice((-mean, mean)) + _normal(random, size)
    return drawn


DISTRIBUTIONS: dict[str, Callable[[Generator, int], NDArray[Any]]] = {
    "normal": _normal,
    "uniform": lambda random, size: random.uniform(-1, 1, size),
    "offset": lambda random, size: _offset(random, size, MEAN),
    "wide": lambda random, size: _normal(random, size) * 10 ** random.uniform(-DECADES, DECADES, size),
    "tiny": lambda random, size: _normal(random, size) * SMALL,
    "huge": lambda random, size: _normal(random, size) * LARGE,
    "zeros": lambda random, size: random.choice((0.0, -0.0), size),
    "constant": lambda random, size: np.full(size, random.standard_normal()),
    "integers": lambda random, size: random.integers(-LARGEST_INTEGER, LARGEST_INTEGER + 1, size),
}
# Near 1000 the spacing of bfloat16 is larger than 1: rows would be constant.
IN_BFLOAT16: dict[str, Callable[[Generator, int], NDArray[Any]]] = {
    "offset": lambda random, size: _offset(random, size, MEAN / 16),
}


def drawn_arguments(op: Op) -> tuple[Argument, ...]:
    """Return the arguments that have values before the call; `SpecialValue.argument` is an index into them."""
    return op.with_role(Role.INPUT, Role.INOUT)


def materialise(op: Op, problem: Problem) -> Values:
    """Return the values of all inputs and in-outs.

    Parameters
    ----------
    op : Op
    problem : Problem
        Its seed, distribution and special values decide every element.

    Returns
    -------
    dict of str to ndarray
        Plain arrays in call order; integers are below their bound, and saved arguments hold the values that the forward pass
        saves for these inputs.

    Raises
    ------
    RequestError
        An integer argument has elements, and its bound allows no value.
    """
    arguments = drawn_arguments(op)
    floats = [a.name for a in arguments if a.name not in op.integers]
    coins = np.random.default_rng([problem.seed, len(arguments)])
    following = {n for n in floats if coins.random() < 0.5} or {floats[coins.integers(len(floats))]}  # noqa: PLR2004 (a coin)
    values: Values = {}
    for number, argument in enumerate(arguments):
        random = np.random.default_rng([problem.seed, number])
        shape, dtype = argument.shape(problem.dims), argument.numpy_dtype(problem.dtype)
        size = int(np.prod(shape))
        if argument.name in op.integers:
            flat = _integers(random, size, problem, evaluate(op.integers[argument.name], problem.dims))
        else:
            name = problem.distribution if argument.name in following or problem.distribution == "integers" else "normal"
            draw = IN_BFLOAT16.get(name, DISTRIBUTIONS[name]) if dtype == BFLOAT16 else DISTRIBUTIONS[name]
            flat = draw(random, size)
        values[argument.name] = np.ascontiguousarray(flat, dtype).reshape(shape)
    _apply_special_values(op, problem, values)
    return _save(op, problem, values)


def change_one(op: Op, problem: Problem, values: Values) -> Values:
    """Return `values` with one element of one float argument changed, and saved arguments computed again."""
    random = np.random.default_rng(problem.seed)
    changed = {n: a.copy() for n, a in values.items()}
    floats = [a for a in changed.values() if a.size and is_float(a.dtype)]
    if floats:
        array = floats[int(random.integers(len(floats)))].reshape(-1)
        where = int(random.integers(array.size))
        array[where] = 1 - array[where]
    return _save(op, problem, changed)


def saved_by(op: Op, values: Mapping[str, NDArray[Any]], params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments that the forward pass saves for these values, not yet rounded to their dtype."""
    if op.saved is None:
        return {}
    floats = {n: a.astype(np.float32) if a.dtype == BFLOAT16 else a for n, a in values.items()}
    with np.errstate(all="ignore"):
        return op.saved(**floats, **params)


def _save(op: Op, problem: Problem, values: Values) -> Values:
    for name, array in saved_by(op, values, problem.params).items():
        with np.errstate(all="ignore"):
            values[name] = np.ascontiguousarray(array, values[name].dtype)
    return values


def _integers(random: Generator, size: int, problem: Problem, bound: int) -> NDArray[Any]:
    if size and bound < 1:
        raise RequestError(f"problem {str(problem)!r}: {size} integers below {bound} are needed, and there is none")
    match problem.distribution:
        case "zeros":
            return np.zeros(size, np.int64)
        case "constant":
            return np.full(size, max(bound - 1, 0))
        case _:
            return random.integers(0, max(bound, 1), size)


def _apply_special_values(op: Op, problem: Problem, values: Values) -> None:
    for special in problem.special_values:
        array = values[drawn_arguments(op)[special.argument % len(values)].name]
        if array.size and is_float(array.dtype):
            array.reshape(-1)[min(int(special.where * array.size), array.size - 1)] = SPECIAL_VALUES[special.value]
