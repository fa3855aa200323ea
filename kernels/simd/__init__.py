"""Shared code of the numba variants: their compilation, and functions that LLVM vectorises.

A compiled file is cached beside all others under a folder named after the sources of this package, since numba's cache
notices a change of the file that holds a function, but not of a file whose functions it calls. For the same reason a
variant's jitted code calls jitted code of its own file and of this package only.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numba

__all__ = ["jit", "naive", "parallel"]

_HERE = Path(__file__).resolve().parent
_sources = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(_HERE.glob("*.py")))).hexdigest()[:12]
numba.config.CACHE_DIR = str(_HERE.parent.parent / ".cache" / "numba" / _sources)

# Sums may be reordered and multiply-adds fused; NaN and infinity keep their meaning.
_FASTMATH = {"reassoc", "contract", "nsz"}

naive = numba.njit(cache=True, error_model="numpy")
jit = numba.njit(cache=True, fastmath=_FASTMATH, error_model="numpy", nogil=True)
parallel = numba.njit(cache=True, fastmath=_FASTMATH, error_model="numpy", nogil=True, parallel=True)
