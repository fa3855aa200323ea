"""Read batches from a stream of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Loader", "check_shape"]


class Loader:
    """Batches of a token stream.

    Without a seed, the batches follow each other as in llm.c: each batch begins where the targets of the previous one end. If
    too few tokens are left for a batch, the next batch begins with the first token.
    With a seed, each row begins at a random position, so that a batch has rows from all parts of a text.

    Parameters
    ----------
    tokens : array of uint16
        At least ``batch * sequence + 1``.
    batch, sequence : int
        B rows of T tokens.
    seed : int, optional
        Seed of the random positions of the rows.
    rank, ranks : int
        Number of this loader, and number of loaders. Loader `rank` returns its B rows of the B x ranks rows that a single
        loader with a batch of B x ranks returns.
    """

    def __init__(
        self, tokens: NDArray[np.uint16], batch: int, sequence: int, seed: int | None = None, rank: int = 0, ranks: int = 1
    ) -> None:
        check_shape(batch, sequence)
        if tokens.size <= ranks * batch * sequence:
            raise RequestError(f"{tokens.size} tokens are too few for one batch of {ranks * batch} x {sequence} + 1")
        self.tokens, self.batch, self.sequence = tokens, batch, sequence
        self.seed, self.rank, self.ranks = seed, rank, ranks
        self.reset()

    @property
    def batches(self) -> int:
        """Number of batches in one pass over the tokens."""
        return (self.tokens.size - 1) // (self.ranks * self.batch * self.sequence)

    def reset(self) -> None:
        """Begin again with the first token, or with the first random positions."""
        self._position = 0
        self._random = None if self.seed is None else np.random.default_rng(self.seed)

    def state(self) -> dict[str, Any]:
        """Return the position in the stream, and the state of the random positions, as data for JSON."""
        return {"position": self._position, "random": None if self._random is None else self._random.bit_generator.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where the loader with this state stopped. It may have had another number of rows and of ranks."""
        self._position = state["position"]
        if self._random is not None and state["random"] is not None:
            self._random.bit_generator.state = state["random"]

    def next_batch(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return inputs and targets, two new int32 arrays of shape (B, T). Each target is the token after its input."""
        if self._random is not None:
            starts = self._random.integers(self.tokens.size - self.sequence, size=(self.ranks, self.batch))[self.rank]
            rows = self.tokens[starts[:, None] + np.arange(self.sequence + 1)].astype(np.int32)
            return rows[:, :-1].copy(), rows[:, 1:].copy()
        size = self.batch * self.sequence
        if self._position + self.ranks * size + 1 > self.tokens.size:
            self.reset()
        start = self._position + self.rank * size
        window = self.tokens[start : start + size + 1].astype(np.int32)
        self._position += self.ranks * size
        shape = (self.batch, self.sequence)
        return window[:-1].reshape(shape).copy(), window[1:].reshape(shape).copy()


def check_shape(batch: int, sequence: int) -> None:
    """Raise `RequestError` unless both sizes are at least 1."""
    for option, value in (("batch", batch), ("sequence", sequence)):
        if value < 1:
            raise RequestError(f"--{option} {value}: give at least 1")
