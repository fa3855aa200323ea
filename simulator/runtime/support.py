"""The functions that generated code calls, by name."""

from __future__ import annotations

from simulator.checks import access, copies, order
from simulator.runtime import support_atomics, support_memory, support_warp

__all__ = ["support_addresses"]

_MODULES = (support_memory, support_atomics, support_warp, access, copies, order)


def support_addresses() -> dict[str, int]:
    """Return the address of each support function of the runtime and of the checker."""
    return {name: function.address for module in _MODULES for name, function in module.FUNCTIONS.items()}
