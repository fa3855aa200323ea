"""The errors of the simulator: one clear line each, with the value or the source line that caused them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CompileError", "LaunchError", "SimulatorError", "UnsupportedInstruction", "nearest"]


class SimulatorError(Exception):
    """Base class of the errors of the simulator."""


class CompileError(SimulatorError):
    """Source that does not compile, or PTX that cannot be read."""


class UnsupportedInstruction(SimulatorError):  # noqa: N818 (its name is part of the public face)
    """An instruction the simulator does not execute; it refuses rather than approximates.

    Parameters
    ----------
    feature
        The instruction as written, or the feature's name.
    where
        The place in the source, such as ``layer_norm.cu:12``.
    """

    def __init__(self, feature: str, where: str = "") -> None:
        super().__init__(f"{where}: not simulated: {feature}" if where else f"not simulated: {feature}")
        self.feature, self.where = feature, where


class LaunchError(SimulatorError):
    """A launch that CUDA would refuse: grid, block, shared memory or arguments."""


def nearest(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return a line saying that no `kind` has that name, with the nearest one that exists."""
    known = sorted(set(choices))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(known) or 'none'}."
