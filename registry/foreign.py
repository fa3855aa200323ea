"""Foreign files, from a folder of ``--kernels-path``: their module names, and the modules and files that they import."""

from __future__ import annotations

import dis
import hashlib
import importlib.util
import re
import sys
import sysconfig
from contextlib import redirect_stdout
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

from registry.numba_cache import keep_foreign_code_apart
from registry.paths import ROOMS
from registry.variant import unregister

__all__ = ["import_file", "imported_names", "is_installed", "local_files", "module_name"]

INSTALLED = frozenset({"site-packages", "dist-packages"})
STANDARD = Path(sysconfig.get_path("stdlib"))


def module_name(path: Path) -> str:
    """Return the module name of a foreign file: the same in every process, and different for every file.

    numba stores the name of a function's module with the cached machine code, and looks it up when it loads the code.
    The name therefore holds a digest of the file's resolved path: files of the same name in two folders do not collide.
    """
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return f"external_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"


def import_file(path: Path) -> str:
    """Import a foreign file again and return its module name. Its prints go to standard error: standard output may be JSON."""
    name = module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    keep_foreign_code_apart(path)
    unregister(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return name


@lru_cache(maxsize=1024)
def imported_names(text: str) -> tuple[str, ...]:
    """Return the dotted names of all modules that a text may import. Leading dots of relative imports are dropped.

    The text is compiled and not parsed: `ast.parse` in two threads at once raises SystemError in Python 3.11.
    """
    imported: list[str] = []
    waiting = [compile(text, "source", "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        names: Any = None
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME":
                module = [instruction.argval] if instruction.argval else []
                imported += [*module, *(".".join([*module, name]) for name in names or ())]
            names = instruction.argval  # the instruction before a "from" import loads its names
    return tuple(imported)


def is_installed(path: Path) -> bool:
    """Return whether a file belongs to Python or to an installed package. A new version of either makes all evidence stale."""
    return path.is_relative_to(STANDARD) or not INSTALLED.isdisjoint(path.parts)


def local_files(name: str, importer: Path) -> list[Path]:
    """Return the files of a helper module that `importer` imports: beside it or on Python's path, packages included.

    The result is empty for a module of Python, of an installed package or of the project itself.
    """
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in ROOMS:
        return []
    files = _files_in(importer.parent, name) or _files_on_path(name, tuple(sys.path))
    return [path.resolve() for path in files if not is_installed(path)]


@cache
def _files_on_path(name: str, folders: tuple[str, ...]) -> list[Path]:
    return next((files for folder in folders if (files := _files_in(Path(folder), name))), [])


def _files_in(folder: Path, name: str) -> list[Path]:
    """Return the files of a dotted module name below `folder`: its own file, and ``__init__.py`` of its packages."""
    files, base = [], folder
    for part in name.split("."):
        base /= part
        files += [path for path in (base / "__init__.py", base.with_name(f"{part}.py")) if path.is_file()]
    return files
