"""The functions that generated code calls, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.checks import access, copies, order
from simulator.runtime import support_atomics, support_memory, support_warp

if TYPE_CHECKING:
    from simulator.runtime.jit import Callback

__all__ = ["SUPPORT"]

SUPPORT: dict[str, Callback] = {
    **support_memory.FUNCTIONS,
    **support_atomics.FUNCTIONS,
    **support_warp.FUNCTIONS,
    **access.FUNCTIONS,
    **copies.FUNCTIONS,
    **order.FUNCTIONS,
}
"""The support functions of the runtime and of the checker; only those that a kernel calls need compiling."""
