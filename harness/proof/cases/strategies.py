"""Strategies of hypothesis for problems. They draw dims and a seed, never elements, so that failures shrink in seconds."""

from __future__ import annotations

import itertools
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from harness.proof.cases.domain import AcceptedDomain, aims, reachable
from harness.proof.cases.values import drawn_arguments
from registry.dtypes import BFLOAT16
from registry.problem import ALIGNMENTS, DISTRIBUTIONS, SPECIAL_VALUES, Problem, SpecialValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

    from registry.op import Op
    from registry.variant import Variant

__all__ = [
    "basics",
    "corners",
    "dtypes_of",
    "elements",
    "inside",
    "is_small",
    "longest",
    "problems",
    "some_of_each_kind",
]

MOST_ELEMENTS = 400_000  # of one argument
MOST_SIMULATED = 40_000  # elements of one argument
MOST_SIMULATED_FLOPS = 6e6
MOST_SPECIALS = 4
VECTOR = 8  # elements: two vectors of floats, one of bfloat16
HALF_A_VECTOR = 12  # elements: three vectors of four floats, one and a half vectors of eight bfloat16
UNINFORMATIVE = {"zeros", "constant", "huge"}  # distributions that hide many errors
ONE_IN_EMPTY = 7  # one problem of eight may have dims of zero
LARGEST_SEED = 2**31 - 1


def _special_values(op: Op) -> SearchStrategy[tuple[SpecialValue, ...]]:
    floats = [i for i, a in enumerate(drawn_arguments(op)) if a.name not in op.integers]
    places = st.sampled_from((0.0, 0.25, 0.5, 0.75, 1.0))
    value = st.builds(SpecialValue, st.sampled_from(floats), places, st.sampled_from(sorted(SPECIAL_VALUES)))
    return st.one_of(st.just(()), st.just(()), st.just(()), st.lists(value, min_size=1, max_size=MOST_SPECIALS).map(tuple))


@st.composite
def _problems(draw: DrawFn, op: Op, tiles: dict[str, tuple[int, ...]], dtypes: tuple[str, ...]) -> Problem:
    dims = {}
    empty = draw(st.integers(0, ONE_IN_EMPTY)) == ONE_IN_EMPTY
    for name, domain in op.domain.items():
        allowed = domain if empty or domain[0] > 0 else domain[1:]
        anywhere = st.integers(0, len(allowed) - 1).map(allowed.__getitem__)
        dims[name] = draw(st.one_of(st.sampled_from(aims(allowed, tiles.get(name, ()))), anywhere))
    params: dict[str, Any] = {n: draw(st.sampled_from(v)) for n, v in op.params.items() if not isinstance(v, str)}
    distribution, special_values = draw(st.sampled_from(DISTRIBUTIONS)), draw(_special_values(op))
    return Problem(
        op.name,
        dims,
        {**params, **op.bound_params(dims)},
        dtype=draw(st.sampled_from(dtypes)),
        alignment=draw(st.sampled_from(ALIGNMENTS)),
        distribution=distribution,
        seed=draw(st.integers(0, LARGEST_SEED)),
        # With huge values, the effect of a special value cannot be distinguished from an overflow.
        special_values=() if distribution == "huge" else special_values,
    )


def elements(op: Op, problem: Problem) -> int:
    """Return the size of the largest argument of a problem."""
    sizes = []
    for argument in op.arguments:
        size = 1
        for length in argument.shape(problem.dims):
            size *= length
        sizes.append(size)
    return max(sizes)


def is_small(op: Op, problem: Problem, *, simulated: bool) -> bool:
    """Return whether a problem is small enough for a proof, or for a proof in the simulator."""
    most, flops = (MOST_SIMULATED, MOST_SIMULATED_FLOPS) if simulated else (MOST_ELEMENTS, float("inf"))
    return elements(op, problem) <= most and op.flops(**problem.dims) <= flops


def dtypes_of(op: Op, variant: Variant | None = None) -> tuple[str, ...]:
    """Return the dtypes that `variant` takes, or those of the op if there is no variant."""
    return variant.dtypes if variant else op.dtypes


@lru_cache(maxsize=64)
def _accepted(variant: Variant, *, simulated: bool) -> AcceptedDomain:
    return AcceptedDomain(variant, partial(is_small, variant.op, simulated=simulated))


def inside(variant: Variant, problem: Problem, *, simulated: bool) -> Problem:
    """Return `problem`, or a similar accepted problem if `variant` refuses this one."""
    return problem if variant.refuses is None else _accepted(variant, simulated=simulated).moved(problem)


def problems(op: Op, variant: Variant | None = None, *, simulated: bool = False) -> SearchStrategy[Problem]:
    """Return a strategy of problems of `op`, with many dims near the tiles of `variant`; small problems for the simulator.

    A problem that `variant` refuses is replaced by a similar accepted one, if there is one.
    """
    tiles = {n: tuple(t) for n, t in variant.tiles.items()} if variant else {}
    strategy = _problems(op, tiles, dtypes_of(op, variant))
    if variant is not None:
        strategy = strategy.map(partial(inside, variant, simulated=simulated))
    return strategy.filter(lambda p: is_small(op, p, simulated=simulated))


def basics(op: Op, dtypes: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Yield the basic problems: each distribution, each value of each parameter, a special value in each argument.

    They are the same for every variant, and are repeated for each of `dtypes` (by default the op's first dtype).
    """
    choices = {n: v for n, v in op.params.items() if not isinstance(v, str)}
    rounds = max([len(DISTRIBUTIONS), *(len(v) for v in choices.values())])
    floats = [i for i, a in enumerate(drawn_arguments(op)) if a.name not in op.integers]
    specials = ((0.5, "nan"), (0.25, "inf"), (0.0, "-inf"))
    special = [(SpecialValue(i, place, value),) for place, value in specials for i in floats]
    for dtype, number in itertools.product(dtypes or op.dtypes[:1], range(rounds + len(special))):
        dims = {}
        for (name, allowed), prime in zip(op.domain.items(), itertools.cycle((5, 11, 3, 7)), strict=False):
            dims[name] = allowed[min(len(allowed) - 1, prime + 7 * (number % 3))]
        # Parameters and layout change after different numbers of problems, so that no two of them always change together.
        params = {n: v[(number // (i + 1)) % len(v)] for i, (n, v) in enumerate(choices.items())}
        spiked = number >= rounds
        yield Problem(
            op.name,
            dims,
            {**params, **op.bound_params(dims)},
            dtype=dtype,
            alignment=ALIGNMENTS[(number + number // 5) % len(ALIGNMENTS)],
            distribution=DISTRIBUTIONS[0] if spiked else DISTRIBUTIONS[number % len(DISTRIBUTIONS)],
            seed=number,
            special_values=special[number - rounds] if spiked else (),
        )


def corners(op: Op, variant: Variant, *, simulated: bool = False) -> Iterator[Problem]:
    """Yield problems at the edges: each dim at its smallest size, one past each tile, and at the sum of two tiles.

    At these sizes the loops of a kernel have a second iteration, and its vector loops a tail. In bfloat16 each dim also gets a
    length that is a multiple of a vector of floats, and not of a vector of bfloat16. One problem of each dtype has lengths of
    whole vectors at addresses that are not aligned.
    """
    small = {name: allowed[min(len(allowed) - 1, 5)] for name, allowed in op.domain.items()}
    params = {n: v[0] for n, v in op.params.items() if not isinstance(v, str)}
    vectors = {name: VECTOR if VECTOR in allowed else small[name] for name, allowed in op.domain.items()}
    for dtype in dtypes_of(op, variant):
        bound = {**params, **op.bound_params(vectors)}
        yield Problem(op.name, vectors, bound, dtype=dtype, alignment="offset", distribution=DISTRIBUTIONS[0], seed=0)
    for dtype, (name, allowed) in itertools.product(dtypes_of(op, variant), op.domain.items()):
        tiles = tuple(variant.tiles.get(name, ()))
        lengths = {allowed[0], 1} | {tile + more for tile in tiles for more in (1, *tiles)}
        if dtype == BFLOAT16.name and HALF_A_VECTOR in allowed:
            lengths.add(HALF_A_VECTOR)
        for seed, length in enumerate(sorted(lengths & set(reachable(allowed)))):
            dims = {**small, name: length}
            bound = {**params, **op.bound_params(dims)}
            problem = Problem(op.name, dims, bound, dtype=dtype, alignment="aligned", distribution=DISTRIBUTIONS[0], seed=seed)
            if is_small(op, problem, simulated=simulated):
                yield problem


def _kinds(op: Op, problem: Problem) -> set[tuple[Any, ...]]:
    """Return the kinds of a problem: its dtype, layout and special values, and these with the value of each parameter."""
    kind = problem.dtype, problem.alignment, bool(problem.special_values)
    choices = [n for n, v in op.params.items() if not isinstance(v, str)]
    return {kind, *((*kind, n, problem.params[n]) for n in choices)}


def some_of_each_kind(op: Op, candidates: Sequence[Problem]) -> set[int]:
    """Return the positions of the first problem of each kind, without problems of an uninformative distribution."""
    seen: set[tuple[Any, ...]] = set()
    chosen = set()
    for number, problem in enumerate(candidates):
        kinds = _kinds(op, problem)
        if problem.distribution not in UNINFORMATIVE and not kinds <= seen:
            seen |= kinds
            chosen.add(number)
    return chosen


def longest(op: Op, candidates: Sequence[Problem]) -> set[int]:
    """Return the positions of the problems that are longest in each dim, for each dtype."""
    chosen = set()
    for dtype, name in itertools.product(op.dtypes, op.domain):
        lengths = [(problem.dims[name], -number) for number, problem in enumerate(candidates) if problem.dtype == dtype]
        if lengths:
            chosen.add(-max(lengths)[1])
    return chosen
