"""The part of an op's domain that a variant accepts: problems that the variant refuses are moved into it.

A variant for rows of 768 channels refuses nearly every problem that is drawn for its op. It is then proven on as many problems
of 768 channels. The search calls the variant's `refuses` alone, never the variant.
"""

from __future__ import annotations

import dataclasses
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

from models import MODELS
from models.workloads import EXAMPLE, step_name, workloads_of
from registry.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from registry.variant import Variant

    Dims = Mapping[str, int]

__all__ = ["AcceptedDomain", "aims", "reachable"]

AWKWARD = (0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 31, 32, 33, 37, 61, 63, 64, 65, 101, 127, 128, 129, 251, 257)
LARGEST_AIM = 1100  # the largest dim that is drawn for the sake of a tile beyond the op's domain
USUAL = (8, 16, 32, 48, 64, 80, 96, 128, 192, 256, 384, 512, 1024)  # lengths for which variants are often written
MOST_CALLS = 60_000  # of `refuses` in one search: some tenths of a second
MOST_PARAMS = 16
STEP_OF_USE = (4, 64)  # batch and sequence of a training step; the dims of its calls are tried as well
FEW = 3


def aims(allowed: range, tiles: tuple[int, ...]) -> list[int]:
    """Return the values of one dim that are drawn often: awkward ones, and multiples of the tiles, one less, one more.

    A multiple of a tile may be larger than all of `allowed`, so that the code for whole tiles runs too.
    """
    around = {m * tile + d for tile in tiles for m in (1, 2) for d in (-1, 0, 1)}
    near = {a for a in around if a in reachable(allowed)}
    return sorted(near | {a for a in AWKWARD if a in allowed} | {allowed[0], allowed[-1]})


def reachable(allowed: range) -> range:
    """Return `allowed`, continued to `LARGEST_AIM`."""
    return range(allowed.start, max(LARGEST_AIM, allowed[-1]) + 1, allowed.step)


class AcceptedDomain:
    """The part of an op's domain in which a variant accepts problems.

    Parameters
    ----------
    variant : Variant
    is_small : callable
        Returns whether a problem is small enough for a proof.

    Attributes
    ----------
    base : dict or None
        Small dims that the variant accepts; None if none were found.
    values : dict of str to list of int
        Per dim, the values that the variant accepts while the other dims are those of `base`.
    """

    def __init__(self, variant: Variant, is_small: Callable[[Problem], bool]) -> None:
        self.variant, self.op, self.is_small = variant, variant.op, is_small
        self._left = MOST_CALLS
        names = [n for n, v in self.op.params.items() if not isinstance(v, str)]
        choices = itertools.product(*(self.op.params[n] for n in names))
        self._params = [dict(zip(names, values, strict=True)) for values in itertools.islice(choices, MOST_PARAMS)]
        self.base: dict[str, int] | None = next((dict(d) for d in self._bases() if self._takes(d)), None)
        self._left = MOST_CALLS
        self.values = {n: self._accepted(self.base, n) for n in self.op.domain} if self.base else {}

    def moved(self, problem: Problem) -> Problem:
        """Return `problem` if the variant accepts it, else a similar accepted problem; `problem` if none is known."""
        if not self._refuses(problem):
            return problem
        for dims in self._dims_like(problem):
            for params in (problem.params, *self._params):
                other = dataclasses.replace(problem, dims=dims, params={**params, **self.op.bound_params(dims)})
                if not self._refuses(other) and self.is_small(other):
                    return other
        return problem

    def _dims_like(self, problem: Problem) -> Iterator[dict[str, int]]:
        """Yield dims that differ more and more from the problem's dims."""
        yield dict(problem.dims)
        if self.base is None:
            return
        # Dims of 0 are replaced: an empty problem does not count towards the proof.
        dims = {n: length or self.base[n] for n, length in problem.dims.items()}
        chosen = {n: v[problem.seed % len(v)] for n, v in self.values.items()}
        for name, value in chosen.items():
            yield {**dims, name: value}
        kept = {n: dims[n] if dims[n] in self.values[n] else chosen[n] for n in dims}
        yield kept
        yield {n: min(kept[n], FEW) if min(kept[n], FEW) in self.values[n] else kept[n] for n in dims}
        for name in dims:
            yield {**self.base, name: kept[name]}
        yield self.base

    def _refuses(self, problem: Problem) -> bool:
        return bool(self.variant.refusals(problem.dims, problem.params, problem.dtype))

    def _takes(self, dims: Dims) -> bool:
        """Return whether the variant accepts a problem of these dims."""
        for dtype, params in itertools.product(self.variant.dtypes, (self._params[0], *self._params[1:][-1:])):
            self._left -= 1
            problem = Problem(self.op.name, dict(dims), {**params, **self.op.bound_params(dims)}, dtype=dtype)
            with suppress(Exception):  # the contributor's `refuses` may raise for dims that it does not expect
                if not self._refuses(problem) and self.is_small(problem):
                    return True
        return False

    def _bases(self) -> Iterator[Dims]:
        """Yield dims from likely to unlikely ones: all dims small, one dim of any value, two dims of likely values."""
        small = {name: allowed[min(len(allowed) - 1, FEW)] for name, allowed in self.op.domain.items()}
        ones = {name: 1 if 1 in allowed else allowed[0] for name, allowed in self.op.domain.items()}
        likely = {name: self._likely(name) for name in small}
        yield from self._within_calls(
            itertools.chain(
                (small, ones),
                ({**ones, n: v} for n in small for v in (*likely[n], *self._nonzero(n))),
                (
                    {**ones, n: v, m: w}
                    for n, m in itertools.combinations(small, 2)
                    for v, w in itertools.product(likely[n], likely[m])
                ),
                self._of_use(),
            )
        )

    def _within_calls(self, candidates: Iterable[Dims]) -> Iterator[Dims]:
        return itertools.takewhile(lambda _: self._left > 0, candidates)

    def _of_use(self) -> Iterator[Dims]:
        steps = (EXAMPLE, *(step_name(model, *STEP_OF_USE) for model in MODELS.values()))
        for step in steps:
            yield from (workload.dims for workload in workloads_of(self.op, step))

    def _nonzero(self, name: str) -> Iterator[int]:
        return (v for v in reachable(self.op.domain[name]) if v)

    def _likely(self, name: str) -> list[int]:
        """Return values of a dim for which variants are often written, small ones first."""
        allowed, tiles = reachable(self.op.domain[name]), self.variant.tiles.get(name, ())
        used = {dims[name] for dims in self._of_use() if name in dims}
        return sorted(used | {v for v in (*USUAL, *tiles) if v in allowed})

    def _accepted(self, base: Dims, name: str) -> list[int]:
        values = {*self._likely(name), *self._nonzero(name)}
        accepted = [d[name] for d in self._within_calls({**base, name: v} for v in sorted(values)) if self._takes(d)]
        return accepted or [base[name]]
