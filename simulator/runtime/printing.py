"""printf in kernels: a buffer keeps the calls while the launch runs; afterwards Python formats them."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

import numpy as np

from simulator.interface.print_buffer import PRINT_ARGUMENT_BYTES, PRINT_HEAD_BYTES, PRINTED
from simulator.interface.warp_state import ADDRESS_BIAS

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["PrintBuffer"]

_CALLS = 4096
_HEAD = PRINT_HEAD_BYTES // 8
_CONVERSION = re.compile(r"%(?P<flags>[-+ #0]*\d*(?:\.\d+)?)(?P<length>hh|h|ll|l|z)?(?P<kind>[diuoxXcsfFeEgGaAp%])")
_LONG = {"ll", "l", "z"}


class PrintBuffer:
    """The buffer for the calls of one launch; calls beyond `_CALLS` are dropped, as on a device."""

    def __init__(self, *, prints: bool) -> None:
        calls = _CALLS if prints else 0
        self.words = np.zeros(_HEAD + PRINTED.itemsize // 8 * calls, np.int64)
        self.words[1] = calls

    @property
    def address(self) -> int:
        """Return the CPU address of the buffer."""
        return self.words.ctypes.data

    def text(self, memory: npt.NDArray[np.uint8]) -> str:
        """Return the printed text; formats and strings are read from the arena's memory."""
        if not self.words[0]:
            return ""
        records = self.words[_HEAD:].view(PRINTED)[: int(self.words[0])]
        return "".join(_formatted(record, memory) for record in records)


def _string(memory: npt.NDArray[np.uint8], address: int) -> str:
    offset = address - ADDRESS_BIAS
    if not 0 <= offset < len(memory):
        return "(null)"
    end = int(np.argmin(memory[offset : offset + 4096] != 0))
    return bytes(memory[offset : offset + end]).decode(errors="replace")


def _formatted(record: np.void, memory: npt.NDArray[np.uint8]) -> str:
    values, place = record["arguments"].tobytes(), 0

    def one(hit: re.Match[str]) -> str:
        nonlocal place
        kind = hit["kind"]
        if kind == "%":
            return "%"
        size = 8 if kind in "sfFeEgGaAp" or hit["length"] in _LONG else 4
        place = (place + size - 1) // size * size
        code = "d" if kind in "fFeEgGaA" else ("q" if size == struct.calcsize("q") else "i")
        if kind not in "dicfFeEgGaA":
            code = code.upper()
        if place + size > PRINT_ARGUMENT_BYTES:
            return "..."
        value = struct.unpack_from("<" + code, values, place)[0]
        place += size
        if kind == "s":
            value = _string(memory, value)
        if kind == "p":
            return f"{value:#x}"
        if kind in "aA":
            return float(value).hex()
        return str(f"%{hit['flags']}{'d' if kind == 'u' else kind}" % value)

    return _CONVERSION.sub(one, _string(memory, int(record["format"])))
