"""What problems are drawn: descriptors, never elements, so that real sizes can be drawn and a failure shrinks in seconds."""

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
MOST_SPIKES = 4
VECTOR = 8  # elements: two vectors of floats, one of bfloat16
HALF_A_VECTOR = 12  # whole vectors of four floats, and one and a half of eight bfloat16
TELL_LITTLE = {"zeros", "constant", "huge"}  # families
ONE_IN_EMPTY = 7  # of eight problems, one may have dims of zero
LARGEST_SEED = 2**31 - 1


def _spikes(op: Op) -> SearchStrategy[tuple[SpecialValue, ...]]:
    floats = [i for i, a in enumerate(drawn_arguments(op)) if a.name not in op.integers]
    places = st.sampled_from((0.0, 0.25, 0.5, 0.75, 1.0))
    spike = st.builds(SpecialValue, st.sampled_from(floats), places, st.sampled_from(sorted(SPECIAL_VALUES)))
    return st.one_of(st.just(()), st.just(()), st.just(()), st.lists(spike, min_size=1, max_size=MOST_SPIKES).map(tuple))


@st.composite
def _problems(draw: DrawFn, op: Op, tiles: dict[str, tuple[int, ...]], dtypes: tuple[str, ...]) -> Problem:
    dims = {}
    empty = draw(st.integers(0, ONE_IN_EMPTY)) == ONE_IN_EMPTY
    for name, domain in op.domain.items():
        allowed = domain if empty or domain[0] > 0 else domain[1:]
        anywhere = st.integers(0, len(allowed) - 1).map(allowed.__getitem__)
        dims[name] = draw(st.one_of(st.sampled_from(aims(allowed, tiles.get(name, ()))), anywhere))
    params: dict[str, Any] = {n: draw(st.sampled_from(v)) for n, v in op.params.items() if not isinstance(v, str)}
    family, spikes = draw(st.sampled_from(DISTRIBUTIONS)), draw(_spikes(op))
    return Problem(
        op.name,
        dims,
        {**params, **op.bound_params(dims)},
        dtype=draw(st.sampled_from(dtypes)),
        alignment=draw(st.sampled_from(ALIGNMENTS)),
        distribution=family,
        seed=draw(st.integers(0, LARGEST_SEED)),
        # Beside huge values, what a special value did cannot be told from what overflowed anyway.
        special_values=() if family == "huge" else spikes,
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
    """Return whether a problem is small enough to be drawn, or to be simulated."""
    most, flops = (MOST_SIMULATED, MOST_SIMULATED_FLOPS) if simulated else (MOST_ELEMENTS, float("inf"))
    return elements(op, problem) <= most and op.flops(**problem.dims) <= flops


def dtypes_of(op: Op, variant: Variant | None = None) -> tuple[str, ...]:
    """Return the dtypes of problems that `variant` takes, or anybody."""
    return variant.dtypes if variant else op.dtypes


@lru_cache(maxsize=64)
def _accepted(variant: Variant, *, simulated: bool) -> AcceptedDomain:
    return AcceptedDomain(variant, partial(is_small, variant.op, simulated=simulated))


def inside(variant: Variant, problem: Problem, *, simulated: bool) -> Problem:
    """Return `problem`, or one like it that `variant` accepts where it refuses this one."""
    return problem if variant.refuses is None else _accepted(variant, simulated=simulated).moved(problem)


def problems(op: Op, variant: Variant | None = None, *, simulated: bool = False) -> SearchStrategy[Problem]:
    """Return a strategy of problems of `op`, aimed at the tiles of `variant`; smaller ones if they will be `simulated`.

    A problem that `variant` refuses is moved to where it accepts one, if it does so anywhere.
    """
    tiles = {n: tuple(t) for n, t in variant.tiles.items()} if variant else {}
    found = _problems(op, tiles, dtypes_of(op, variant))
    if variant is not None:
        found = found.map(partial(inside, variant, simulated=simulated))
    return found.filter(lambda p: is_small(op, p, simulated=simulated))


def basics(op: Op, dtypes: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Yield the problems that every variant meets: each family, each value of each parameter, a special in each argument.

    All of them in each of `dtypes`, or in the first of the op's.
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
        # The tuples are walked at different paces, so that no two parameters move in step, nor the layout with one.
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
    """Yield problems at the edges: each dim at its least, just past each tile, and past a tile and a smaller one.

    There the loops of a kernel have a second round, and its vector loops a tail. In bfloat16 each dim is also of a length
    that whole vectors of floats fill, and those of bfloat16 do not. In one problem of each dtype, lengths are of whole
    vectors and addresses are not.
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
    """Return what tells problems apart whatever their sizes: dtype, layout, special values, beside them each parameter."""
    kind = problem.dtype, problem.alignment, bool(problem.special_values)
    choices = [n for n, v in op.params.items() if not isinstance(v, str)]
    return {kind, *((*kind, n, problem.params[n]) for n in choices)}


def some_of_each_kind(op: Op, given: Sequence[Problem]) -> set[int]:
    """Return the numbers of the first problem of each kind; none whose values tell little, all alike or beyond measure."""
    seen: set[tuple[Any, ...]] = set()
    found = set()
    for number, problem in enumerate(given):
        kinds = _kinds(op, problem)
        if problem.distribution not in TELL_LITTLE and not kinds <= seen:
            seen |= kinds
            found.add(number)
    return found


def longest(op: Op, given: Sequence[Problem]) -> set[int]:
    """Return the numbers of the problem that is longest in each dim, for each dtype."""
    found = set()
    for dtype, name in itertools.product(op.dtypes, op.domain):
        lengths = [(problem.dims[name], -number) for number, problem in enumerate(given) if problem.dtype == dtype]
        if lengths:
            found.add(-max(lengths)[1])
    return found
