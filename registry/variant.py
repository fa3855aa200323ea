"""`Variant`: one implementation of an op, and `register`, the decorator that its file applies."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.dtypes import is_bfloat16
from registry.enums import Device
from registry.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from registry.op import Op

__all__ = ["BACKENDS", "Notes", "Variant", "read_notes", "register"]

BACKENDS = {"numpy": Device.CPU, "numba": Device.CPU, "cuda": Device.CUDA}
DETERMINISM = ("bitwise", "run_to_run")
LABELS = ("Builds on", "Idea", "Source", "Costs")


@dataclass(frozen=True)
class Notes:
    """The parts of a variant's docstring: a sentence, then labelled paragraphs.

    Attributes
    ----------
    builds_on : str
        The variant or op of the rung below. "" for the first rung.
    """

    summary: str
    builds_on: str
    idea: str
    source: str
    costs: str = ""


def read_notes(docstring: str | None, name: str) -> Notes:
    """Parse the labels ``Builds on:``, ``Idea:``, ``Source:`` and ``Costs:`` of a variant's docstring.

    Raises
    ------
    ContractError
        There is no docstring, or Idea or Source is missing.
    """
    text = inspect.cleandoc(docstring or "")
    if not text:
        raise ContractError(f"variant {name!r} has no docstring: one sentence, then Builds on:, Idea:, Source:")
    parts = re.split(rf"^({'|'.join(LABELS)}):", text, flags=re.MULTILINE)
    labelled = {label: " ".join(body.split()) for label, body in zip(parts[1::2], parts[2::2], strict=True)}
    for label in ("Idea", "Source"):
        if not labelled.get(label):
            raise ContractError(f"variant {name!r}: its docstring has no {label + ':'!r} line")
    base = re.match(r"[\w.]+", labelled.get("Builds on", ""))
    return Notes(
        summary=" ".join(parts[0].split()),
        builds_on=base[0].rstrip(".") if base else "",
        idea=labelled["Idea"],
        source=labelled["Source"],
        costs=labelled.get("Costs", ""),
    )


@dataclass(frozen=True, eq=False)
class Variant:
    """One implementation of an op.

    Attributes
    ----------
    function : callable
        Called with inputs, outputs, in-outs (positionally) and parameters (by keyword); returns None.
    dtypes : tuple of str
        Dtypes of the problems that it accepts.
    determinism : {"bitwise", "run_to_run"}
        Whether two calls with the same values and threads always agree to the bit, or may differ by rounding.
    tiles : mapping of str to tuple of int
        Block sizes of the kernel, per dim. The fuzzer aims at their multiples, plus and minus one.
    workspace : callable, optional
        ``workspace(threads, **dims)`` returns the number of float32 elements of the scratch memory ``workspace=``.
    refuses : callable, optional
        ``refuses(**dims, **params)`` yields the reasons why the variant does not support a problem.
    """

    op: Op
    name: str
    function: Callable[..., None]
    notes: Notes
    path: Path
    dtypes: tuple[str, ...] = ("float32",)
    determinism: str = "bitwise"
    tiles: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    workspace: Callable[..., int] | None = None
    refuses: Callable[..., Iterable[str]] | None = None

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ContractError(f"variant {self.name!r}: write <backend>_<idea>, with a backend of {', '.join(BACKENDS)}")
        if wrong := [d for d in self.dtypes if d not in self.op.dtypes]:
            raise ContractError(
                f"variant {self.name!r}: dtypes={wrong}, problems of {self.op.name}: {', '.join(self.op.dtypes)}"
            )
        if self.determinism not in DETERMINISM:
            raise ContractError(f"variant {self.name!r}: determinism={self.determinism!r}, allowed: {', '.join(DETERMINISM)}")

    @property
    def backend(self) -> str:
        """The backend: the part of the name before the first underscore."""
        return self.name.partition("_")[0]

    @property
    def device(self) -> Device:
        """The device on which it runs: ``cpu`` or ``cuda``."""
        return BACKENDS[self.backend]

    @property
    def is_reference(self) -> bool:
        """Whether this is the op's reference, which is a baseline in races and never a champion."""
        return self.name == "numpy"

    def __str__(self) -> str:
        return f"{self.op.name}/{self.name}"

    def refusals(self, dims: Mapping[str, int], params: Mapping[str, Any], dtype: str = "float32") -> list[str]:
        """Return the reasons why the variant does not support a problem. An empty list means that it does."""
        reasons = [] if dtype in self.dtypes else [f"dtype {dtype} is not among {', '.join(self.dtypes)}"]
        return reasons + list(self.refuses(**dims, **params) if self.refuses else ())

    def workspace_size(self, dims: Mapping[str, int], threads: int) -> int:
        """Return the number of float32 elements of scratch memory for one call."""
        return int(self.workspace(threads, **dims)) if self.workspace else 0


_registered: dict[str, list[Variant]] = {}


def registered_by(module: str) -> list[Variant]:
    """Return the variants that a module registered while it was imported."""
    return _registered.get(module, [])


def unregister(module: str) -> None:
    """Drop the variants that a module registered, before it is imported again."""
    _registered.pop(module, None)


def register(op: Op, **options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register the decorated function as a variant of `op`, under the function's name.

    The notes are read from the docstring of the module: one file holds one variant. `options` are fields of `Variant`:
    dtypes, determinism, tiles, workspace, refuses.

    Raises
    ------
    ContractError
        The docstring lacks a label, the name lacks a backend, or the arguments differ from the op's arguments.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        module = sys.modules[function.__module__]
        name = function.__name__
        variant = Variant(
            op=op,
            name=name,
            function=function,
            notes=read_notes(module.__doc__, name),
            path=Path(str(module.__file__)),
            **options,
        )
        _check_signature(variant)
        _registered.setdefault(function.__module__, []).append(variant)
        return function

    return decorate


def _check_signature(variant: Variant) -> None:
    parameters = inspect.signature(variant.function).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    expected = [a.name for a in variant.op.arguments]
    if positional != expected:
        raise ContractError(f"variant {variant}: takes ({', '.join(positional)}), the op passes ({', '.join(expected)})")
    wanted = set(variant.op.params) | ({"workspace"} if variant.workspace else set())
    if keywords != wanted:
        raise ContractError(f"variant {variant}: keyword parameters {sorted(keywords)}, the op passes {sorted(wanted)}")


def reference_variant(op: Op) -> Variant:
    """Return the op's reference as a variant called ``numpy``."""

    def numpy(*arrays: Any, **params: Any) -> None:
        by_name = {a.name: array for a, array in zip(op.arguments, arrays, strict=True)}
        inputs = [by_name[n] for n, p in inspect.signature(op.reference).parameters.items() if p.kind is not p.KEYWORD_ONLY]
        results = op.reference(*(a.astype(np.float32) if is_bfloat16(a) else a for a in inputs), **params)
        for name, result in zip(op.outputs, results if isinstance(results, tuple) else (results,), strict=True):
            by_name[name][...] = result

    notes = Notes(
        summary="The reference.",
        builds_on="",
        idea="Compute the op in float64 in the most obvious way, without regard to speed.",
        source=f"kernels/{op.family}/spec.py",
    )
    path = Path(str(sys.modules[op.reference.__module__].__file__))
    return Variant(op=op, name="numpy", function=numpy, notes=notes, path=path, dtypes=op.dtypes)
