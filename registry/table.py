"""The table of ops and variants. Discovery fills it: it walks the folders, imports each file, and records each failure.

The files of a family are imported when its variants are first used, so that a command for one op imports no other family.
"""

from __future__ import annotations

import fnmatch
import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from registry import renamed
from registry.errors import ContractError, RequestError, UnknownNameError
from registry.foreign import import_file
from registry.op import Op
from registry.paths import KERNELS, ROOT
from registry.variant import BACKENDS, Variant, reference_variant, registered_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Table", "Unloadable", "discover"]

SPEC = "spec"
NO_VARIANT = "it registers no variant: put @register(OP) on the kernel, or start the name of a helper file with an underscore"
FOREIGN_SPEC = "this folder cannot add an op: discovery reads specs only in kernels/<family>/; give a helper file another name"
LONE_SOURCE = "no {name}.py beside it registers its kernel as a variant; start the name of a shared source with _"


@dataclass(frozen=True)
class Unloadable:
    """A file that could not be loaded, or one of its variants that could not be registered, with the reason in one line.

    Attributes
    ----------
    op : str
        The op that the file registers for, or else the op of the file's folder (``kernels/matmul/backward_bias/`` belongs
        to ``matmul_backward_bias``); "" if both are unknown.
    variant : str
        The name of the variant; "" if the file failed before it registered one.
    """

    path: Path
    op: str
    reason: str
    variant: str = ""

    @property
    def name(self) -> str:
        """The name of the variant, or of the file if the variant is unknown."""
        return self.variant or self.path.stem

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class _VariantsByOp(Mapping[str, dict[str, Variant]]):
    """The variants of each op by name. Looking up an op imports the files of its family."""

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
        The variants of each op by name. The files of a family are imported when one of its ops is looked up.
    folders : tuple of Path
        The folders of more variants.
    """

    def __init__(self, folders: tuple[Path, ...] = ()) -> None:
        self.folders = folders
        self.ops: dict[str, Op] = {}
        self.variants = _VariantsByOp(self)
        self.known: dict[str, dict[str, Variant]] = {}
        self._waiting: list[str] = []
        self._failed: list[Unloadable] = []
        self._announced: set[tuple[str, str]] = set()

    @property
    def unloadable(self) -> list[Unloadable]:
        """Every file that could not be loaded. This imports the files of all families."""
        for op in self.ops.values():
            self.load(op.family)
        return self._failed

    def unloadable_of(self, ops: Iterable[Op], names: str | None = None) -> list[Unloadable]:
        """Return the files of `ops`, and files of an unknown op, that could not be loaded.

        Parameters
        ----------
        names : str, optional
            Comma-separated globs. Only files whose variant matches one of them are returned.
        """
        wanted = {""}
        for op in ops:
            self.load(op.family)
            wanted.add(op.name)
        patterns = _patterns(names or "*")
        return [f for f in self._failed if f.op in wanted and any(fnmatch.fnmatchcase(f.name, p) for p in patterns)]

    def op(self, name: str) -> Op:
        """Return one op.

        Raises
        ------
        UnknownNameError
            No op has this name; the message offers the nearest one.
        """
        if name not in self.ops:
            raise UnknownNameError("op", name, self.ops)
        return self.ops[name]

    def variant(self, op: str, name: str) -> Variant:
        """Return one variant of one op.

        Raises
        ------
        UnknownNameError
            The op or the variant does not exist.
        RequestError
            The file of the variant could not be loaded; the message holds the reason.
        """
        known = self.variants[self.op(op).name]
        if name not in known and renamed.VARIANTS.get((op, name)) in known:
            name = self._new_name(op, name)
        if name in known:
            return known[name]
        self._refuse_unloadable([self.op(op)], name)
        raise UnknownNameError(f"variant of {op}", name, known)

    def _new_name(self, op: str, name: str) -> str:
        """Return today's name of a renamed variant. The first time, print a notice."""
        new = renamed.VARIANTS[op, name]
        if (op, name) not in self._announced:
            self._announced.add((op, name))
            sys.stderr.write(f"note: variant {name!r} of {op} is now {new!r}; the next release will not know {name!r}\n")
        return new

    def requested(self, op: str, name: str) -> Variant:
        """Return the variant that a user named. Otherwise the same as `variant`.

        If a file of this name could not be loaded, for instance because another file uses the name, the user may mean that
        file. The method then raises its reason and returns no other variant.
        """
        self._refuse_unloadable([self.op(op)], name)
        return self.variant(op, name)

    def _refuse_unloadable(self, ops: Iterable[Op], name: str) -> None:
        """Raise the reason if a file whose variant matches the glob `name` could not be loaded."""
        for failed in self.unloadable_of(ops, name):
            of = f" of {failed.op}" if failed.op else ""
            raise RequestError(f"variant {failed.name!r}{of} could not be loaded from {failed}")

    def add_family(self, folder: Path) -> None:
        """Add the ops of a family's spec. A spec that fails is listed as unloadable, and the other families work on."""
        path, name = folder / f"{SPEC}.py", f"kernels.{folder.name}.{SPEC}"
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a spec is somebody's code and may raise anything)
            self._failed.append(Unloadable(path, folder.name, _one_line(error)))
            return
        ops = [v for v in vars(module).values() if isinstance(v, Op) and v.reference.__module__ == module.__name__]
        for op in ops:
            self.add_op(op)
        if not ops:
            self._failed.append(Unloadable(path, folder.name, "it defines no Op"))

    def select_ops(self, pattern: str) -> list[Op]:
        """Return the ops of a name, of a family (all its directions) or of a glob.

        Raises
        ------
        UnknownNameError
            No op matches.
        """
        if pattern == "all":
            return list(self.ops.values())
        ops = [op for op in self.ops.values() if pattern == op.family or fnmatch.fnmatchcase(op.name, pattern)]
        if not ops:
            for failed in self._failed:
                if failed.path.stem == SPEC and failed.op == pattern:
                    raise RequestError(f"op {pattern!r} could not be loaded from {failed}")
            raise UnknownNameError("op", pattern, {*self.ops, *(op.family for op in self.ops.values())})
        return ops

    def select(self, ops: Iterable[Op], names: str | None = None) -> list[Variant]:
        """Return the variants of `ops` whose name matches one of the comma-separated globs `names` (None: all).

        Raises
        ------
        UnknownNameError
            One of `names` matches no variant of the ops.
        RequestError
            The file of a named variant, or all files that match a glob, could not be loaded; the message holds the reason.
        """
        ops = list(ops)
        every = [v for op in ops for v in self.variants[op.name].values()]
        if names is None:
            return every
        chosen: dict[int, Variant] = {}
        for pattern in _patterns(names):
            if not set(pattern) & set("*?["):
                self._refuse_unloadable(ops, pattern)
            matches = [v for v in every if fnmatch.fnmatchcase(v.name, pattern)]
            earlier = [
                op.name for op in ops if (op.name, pattern) in renamed.VARIANTS and pattern not in self.variants[op.name]
            ]
            matches += [self.variant(op, pattern) for op in earlier]
            if not matches:
                self._refuse_unloadable(ops, pattern)
                raise UnknownNameError(
                    f"variant of {ops[0].name}" if len(ops) == 1 else "variant", pattern, (v.name for v in every)
                )
            chosen.update({id(v): v for v in matches})
        return list(chosen.values())

    def add_op(self, op: Op) -> None:
        """Add an op, with its reference as the variant ``numpy``."""
        self.ops[op.name] = op
        self.known[op.name] = {"numpy": reference_variant(op)}
        if op.family not in self._waiting:
            self._waiting.append(op.family)

    def load(self, family: str) -> None:
        """Import the variant files of a family, unless they have been imported."""
        if family in self._waiting:
            self._waiting.remove(family)
            for path in _python_files(KERNELS / family):
                if path.stem != SPEC:
                    self._load_file(path, KERNELS, family)

    def add_folder(self, folder: Path) -> None:
        """Import every variant file below a user's `folder`, for any op."""
        for path in _python_files(folder):
            if not path.is_relative_to(KERNELS):  # `load` imports the project's own files
                self._load_file(path, folder)
        self._failed += [
            Unloadable(path, self._op_of(path, folder), LONE_SOURCE.format(name=path.stem))
            for path in _visible(folder, "*.cu")
            if not path.is_relative_to(KERNELS) and _is_alone(path)
        ]

    def _op_of(self, path: Path, folder: Path) -> str:
        """Return the op of a file's folder, or ""."""
        name = "_".join(path.relative_to(folder).parts[:-1])
        return name if name in self.ops else ""

    def _load_file(self, path: Path, folder: Path, family: str | None = None) -> None:
        """Import a file and add the variants that it registers for `family`. Failures are recorded, not raised."""
        try:
            registered = _import_own(path) if family else _import_foreign(path)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (a user's file may raise anything, also SystemExit)
            self._failed.append(Unloadable(path, self._op_of(path, folder), _one_line(error)))
            return
        for variant in registered:
            try:
                self._add(variant, family or variant.op.family)
            except ContractError as error:
                self._failed.append(Unloadable(path, variant.op.name, _one_line(error), variant.name))

    def _add(self, variant: Variant, family: str) -> None:
        if variant.op.family != family:
            raise ContractError(f"{variant} belongs in kernels/{variant.op.family}/")
        known = self.variants[variant.op.name]
        if variant.name in known and known[variant.name].path != variant.path:
            raise ContractError(f"the name {variant.name!r} is taken by {known[variant.name].path}; choose another name")
        known[variant.name] = variant


def _patterns(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")]


def _one_line(error: BaseException) -> str:
    message = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    return f"importing it ends the process ({message})" if isinstance(error, SystemExit) else message


def _import_own(path: Path) -> list[Variant]:
    """Import a file of ``kernels/`` and return its variants. A file without a backend in its name may have none."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    importlib.import_module(name)
    if not registered_by(name) and path.stem.partition("_")[0] in BACKENDS:
        raise ContractError(NO_VARIANT)
    return registered_by(name)


def _import_foreign(path: Path) -> list[Variant]:
    """Import a file of a user's folder and return its variants."""
    if path.stem == SPEC:
        raise ContractError(FOREIGN_SPEC)
    if not (variants := registered_by(import_file(path))):
        raise ContractError(NO_VARIANT)
    return variants


def _visible(folder: Path, pattern: str) -> list[Path]:
    """Return the files below `folder`, without hidden folders, caches, and helpers, whose names start with ``_``."""
    paths = (path for path in sorted(folder.rglob(pattern)) if not path.name.startswith(("_", ".")) and not path.is_dir())
    return [path for path in paths if not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)]


def _python_files(folder: Path) -> list[Path]:
    return _visible(folder, "*.py")


def _is_alone(source: Path) -> bool:
    """Return whether no Python file beside a CUDA source has its name or mentions it."""
    beside = list(source.parent.glob("*.py"))
    return not any(path.stem == source.stem or source.name.encode() in path.read_bytes() for path in beside if path.is_file())


def _families() -> Iterator[Path]:
    return (path.parent for path in sorted(KERNELS.glob(f"*/{SPEC}.py")))


@cache
def discover(*extra: Path) -> Table:
    """Return the table of all ops and variants under ``kernels/`` and under the `extra` folders.

    The specs and the `extra` folders are imported at once, the variants of ``kernels/`` when they are first used.

    Raises
    ------
    RequestError
        An extra folder is not a folder.
    """
    table = Table(extra)
    for family in _families():
        table.add_family(family)
    for folder in extra:
        if not folder.is_dir():
            raise RequestError(f"--kernels-path {str(folder)!r} is not a folder")
        table.add_folder(folder.resolve())
    return table
