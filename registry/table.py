"""The table of ops and variants, filled by discovery: walk the folder, import each file, remember what failed.

The files of a family are imported when its variants are first asked for: a command that names one op waits for no other.
"""

from __future__ import annotations

import fnmatch
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import ContractError, RequestError, UnknownNameError
from registry.op import Op
from registry.variant import Variant, definition_variant, forget, registered_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

__all__ = ["ROOT", "Table", "Unloadable", "discover"]

ROOT = Path(__file__).resolve().parent.parent
SPEC = "spec"


@dataclass(frozen=True)
class Unloadable:
    """A file that could not be imported, and why, in one line.

    Attributes
    ----------
    op : str
        The op in whose folder the file stands: ``kernels/matmul/backward_bias/`` belongs to ``matmul_backward_bias``;
        "" for a file at the top of an external folder.
    """

    path: Path
    op: str
    reason: str

    @property
    def name(self) -> str:
        """The variant that the file would have registered."""
        return self.path.stem


class _Shelves(Mapping[str, dict[str, Variant]]):
    """Per op its variants by name; looking at an op's loads its family."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __getitem__(self, op: str) -> dict[str, Variant]:
        self._table.load(self._table.ops[op].family)
        return self._table.known[op]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.ops)

    def __len__(self) -> int:
        return len(self._table.ops)


class Table:
    """Every op, its variants by name, and the files that could not be loaded.

    Attributes
    ----------
    ops : dict of str to Op
    variants : mapping of str to dict
        Per op, its variants by name. The files of a family are imported when one of its ops is looked up.
    """

    def __init__(self) -> None:
        self.ops: dict[str, Op] = {}
        self.variants = _Shelves(self)
        self.known: dict[str, dict[str, Variant]] = {}
        self._waiting: list[str] = []
        self._failed: list[Unloadable] = []

    @property
    def unloadable(self) -> list[Unloadable]:
        """Every file that could not be loaded; to know them, all are loaded."""
        for op in self.ops.values():
            self.load(op.family)
        return self._failed

    def unloadable_of(self, ops: Iterable[Op]) -> list[Unloadable]:
        """Return the files that could not be loaded and stand in folders of `ops`, or at the top of an external one."""
        names = {""}
        for op in ops:
            self.load(op.family)
            names.add(op.name)
        return [failed for failed in self._failed if failed.op in names]

    def op(self, name: str) -> Op:
        """Return one op.

        Raises
        ------
        UnknownNameError
            No op of that name; the nearest one is offered.
        """
        if name not in self.ops:
            raise UnknownNameError("op", name, self.ops)
        return self.ops[name]

    def variant(self, op: str, name: str) -> Variant:
        """Return one variant of one op.

        Raises
        ------
        UnknownNameError
            No such op or variant, or its file could not be loaded (the reason is given).
        """
        known = self.variants[self.op(op).name]
        if name in known:
            return known[name]
        for failed in self._failed:
            if failed.name == name and failed.op in (op, ""):
                raise RequestError(f"variant {name!r} of {op} could not be loaded: {failed.reason}")
        raise UnknownNameError(f"variant of {op}", name, known)

    def select_ops(self, pattern: str) -> list[Op]:
        """Return the ops that a name, a family (all its directions) or a glob stands for.

        Raises
        ------
        UnknownNameError
            It stands for none.
        """
        if pattern == "all":
            return list(self.ops.values())
        found = [op for op in self.ops.values() if pattern == op.family or fnmatch.fnmatchcase(op.name, pattern)]
        if not found:
            raise UnknownNameError("op", pattern, {*self.ops, *(op.family for op in self.ops.values())})
        return found

    def select(self, ops: Iterable[Op], names: str | None = None) -> list[Variant]:
        """Return the variants of `ops` whose name matches one of the comma-separated globs `names` (None: all).

        Raises
        ------
        UnknownNameError
            One of `names` matches no variant of any of the ops.
        """
        ops = list(ops)
        every = [v for op in ops for v in self.variants[op.name].values()]
        if names is None:
            return every
        chosen: dict[int, Variant] = {}
        for pattern in (n.strip() for n in names.split(",")):
            found = [v for v in every if fnmatch.fnmatchcase(v.name, pattern)]
            if not found and len(ops) == 1:
                self.variant(ops[0].name, pattern)
            if not found:
                raise UnknownNameError("variant", pattern, (v.name for v in every))
            chosen.update({id(v): v for v in found})
        return list(chosen.values())

    def add_op(self, op: Op) -> None:
        """Add an op and its plain definition."""
        self.ops[op.name] = op
        self.known[op.name] = {"numpy": definition_variant(op)}
        if op.family not in self._waiting:
            self._waiting.append(op.family)

    def load(self, family: str) -> None:
        """Import the variant files of a family, unless that has been done."""
        if family in self._waiting:
            self._waiting.remove(family)
            folder = ROOT / "kernels"
            for path in _variant_files(folder / family):
                self._load_file(path, folder, "kernels", family)

    def add_folder(self, folder: Path) -> None:
        """Import every variant file below somebody else's `folder`, for whichever ops they are."""
        for path in _variant_files(folder):
            self._load_file(path, folder, f"external_{abs(hash(folder))}")

    def _load_file(self, path: Path, folder: Path, package: str, family: str | None = None) -> None:
        """Import a file and add what it registers, if it is for `family`; what fails is remembered, never raised."""
        parts = path.relative_to(folder).parts
        name = ".".join((package, *parts))[: -len(".py")]
        try:
            _import_file(name, path, in_package=family is not None)
            for variant in registered_by(name):
                self._add(variant, family or variant.op.family)
        except Exception as error:  # noqa: BLE001 (somebody else's file may raise anything)
            self._failed.append(Unloadable(path, "_".join(parts[:-1]), _one_line(error)))

    def _add(self, variant: Variant, family: str) -> None:
        if variant.op.family != family:
            raise ContractError(f"{variant} belongs into kernels/{variant.op.family}/")
        known = self.variants[variant.op.name]
        if variant.name in known and known[variant.name].path != variant.path:
            raise ContractError(f"the name {variant.name!r} is taken by {known[variant.name].path}")
        known[variant.name] = variant


def _one_line(error: Exception) -> str:
    where = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


def _import_file(name: str, path: Path, *, in_package: bool) -> ModuleType:
    if in_package:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    forget(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _variant_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.py")) if not path.name.startswith("_") and path.stem != SPEC]


def _families() -> Iterator[Path]:
    return (path.parent for path in sorted((ROOT / "kernels").glob(f"*/{SPEC}.py")))


@cache
def discover(*extra: Path) -> Table:
    """Return the table of everything under ``kernels/`` and under the `extra` folders.

    The contracts and the `extra` folders are read at once, the variants of ``kernels/`` when they are asked for.

    Raises
    ------
    RequestError
        An extra folder does not exist.
    """
    table = Table()
    for family in _families():
        module = importlib.import_module(f"kernels.{family.name}.{SPEC}")
        for value in vars(module).values():
            if isinstance(value, Op) and value.definition.__module__ == module.__name__:
                table.add_op(value)
    for folder in extra:
        if not folder.is_dir():
            raise RequestError(f"--kernels-path {str(folder)!r} is not a folder")
        table.add_folder(folder.resolve())
    return table
