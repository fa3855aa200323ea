"""Compile a kernel that a test holds as a string."""

import hashlib
import tempfile
from functools import cache
from pathlib import Path

from simulator import Module

__all__ = ["module_of", "only_kernel"]


@cache
def _folder():
    return Path(tempfile.mkdtemp(prefix="kernels-"))


@cache
def _path(code):
    path = _folder() / f"kernel_{hashlib.sha256(code.encode()).hexdigest()[:12]}.cu"
    path.write_text(code, encoding="utf-8")
    return path


@cache
def module_of(code, target=None):
    """Return a module of CUDA source; a test that changes its variables must not share it."""
    return Module.from_source(_path(code), target=target)


def only_kernel(code, target=None):
    """Return the one kernel of a source."""
    module = module_of(code, target)
    (name,) = module.names
    return module.kernel(name)
