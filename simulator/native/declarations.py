"""C++ declarations of the layouts in `simulator.interface`: structures as structs, enums and names as constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.interface import checker, warp_state
from simulator.interface.grid import BASIC_BLOCK, GRID, Outcome
from simulator.interface.print_buffer import PRINT_ARGUMENT_BYTES, PRINT_HEAD_BYTES, PRINTED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import IntEnum, IntFlag

    import numpy as np

__all__ = ["declarations"]

_STRUCTS = {
    "Header": warp_state.HEADER,
    "BlockCounter": warp_state.BLOCK_COUNTER,
    "BasicBlock": BASIC_BLOCK,
    "Grid": GRID,
    "Printed": PRINTED,
    "Checker": checker.CHECKER,
    "Report": checker.REPORT,
    "Counter": checker.COUNTER,
    "Pattern": checker.PATTERN,
    "Copy": checker.COPY,
    "Record": checker.RECORD,
    "Granule": checker.GRANULE,
}
_ENUMS: tuple[type[IntEnum | IntFlag], ...] = (
    *(warp_state.Status, warp_state.Access, warp_state.Barrier),
    *(Outcome, checker.Code, checker.Shadow),
)
_NAMES = {"Atomic": warp_state.ATOMIC_OPERATIONS, "Kind": warp_state.ATOMIC_TYPES, "Reduction": warp_state.REDUCTIONS}
_CONSTANTS = {
    "ADDRESS_BIAS": warp_state.ADDRESS_BIAS,
    "BARRIERS": warp_state.BARRIERS,
    "PENDING": warp_state.PENDING,
    "WAITS": warp_state.WAITS,
    "DONE": warp_state.DONE,
    "PRINT_ARGUMENT_BYTES": PRINT_ARGUMENT_BYTES,
    "PRINT_HEAD_BYTES": PRINT_HEAD_BYTES,
    "QUEUE_LENGTH": checker.QUEUE_LENGTH,
    "COMMIT": warp_state.COMMIT,
    "WARPS": checker.WARPS,
    "THREADS": checker.THREADS,
    "VARIABLES": checker.VARIABLES,
}


def declarations() -> str:
    """Return the text of a header: `Header`, `Checker` and the like, ``Access::WRITE``, ``ADDRESS_BIAS``."""
    return "\n".join(
        [
            "#pragma once",
            "#include <stdint.h>",
            *(f"constexpr int64_t {name} = {value};" for name, value in _CONSTANTS.items()),
            *(_constants(kind.__name__, {member.name or "": int(member) for member in kind}) for kind in _ENUMS),
            *(_constants(name, {n.upper(): i for i, n in enumerate(names)}) for name, names in _NAMES.items()),
            *(_struct(name, dtype) for name, dtype in _STRUCTS.items()),
            "",
        ]
    )


def _constants(name: str, values: Mapping[str, int]) -> str:
    members = " ".join(f"constexpr int32_t {member} = {value};" for member, value in values.items())
    return f"namespace {name} {{ {members} }}"


def _struct(name: str, dtype: np.dtype[np.void]) -> str:
    """Return a struct with the fields of a numpy structure, which the compiler finds to be as large."""
    members = []
    for field in dtype.names or ():
        kind = dtype[field]
        members.append(f"{kind.base.name}_t {field}{''.join(f'[{size}]' for size in kind.shape)};")
    return f"struct {name} {{ {' '.join(members)} }};\nstatic_assert(sizeof({name}) == {dtype.itemsize});"
