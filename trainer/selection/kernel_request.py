"""The value of ``--kernels``: a base set, and variants that the user names for single ops or calls."""

from __future__ import annotations

import shlex
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import RequestError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from registry.table import Table
    from registry.variant import Variant
    from trainer.program.template import CallKey

__all__ = ["BASES", "KernelRequest", "parse_kernels"]

BASES = ("best", "numpy", "numba", "cuda")
BACKWARD, NAIVE = "backward", "_naive"


@dataclass(frozen=True)
class KernelRequest:
    """A base set of kernels and exceptions from it.

    Attributes
    ----------
    base : {"best", "numpy", "numba", "cuda"}
        The set for all calls without an exception.
    overrides : mapping of str to str
        ``op`` or ``op/label`` to variant. ``op/label`` takes precedence over ``op``.
    """

    base: str = "best"
    overrides: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, table: Table, keys: Collection[CallKey]) -> dict[CallKey, Variant]:
        """Return the named variants by op and label.

        Raises
        ------
        UnknownNameError
            An op, a label or a variant does not exist.
        RequestError
            The program does not call an op, or the file of a variant cannot be loaded.
        """
        variants: dict[CallKey, Variant] = {}
        for target, name in sorted(self.overrides.items(), key=lambda item: item[0].count("/")):
            op, slash, label = target.partition("/")
            variant = table.variant(op, name)
            labels = {known for other, known in keys if other == op}
            if not labels:
                called = {known for known, _ in keys}
                calls = _related(op, called) or ", ".join(sorted(called))
                way = f"it calls {calls}; try --kernels {shlex.quote(self._corrected(table, called))}"
                raise RequestError(f"--kernels {target}={name}: this GPT-2 step does not call {op}; {way}")
            if slash and label not in labels:
                raise UnknownNameError(f"call of {op}", label, labels)
            variants.update({(op, known): variant for known in labels if not slash or known == label})
        return variants

    def _corrected(self, table: Table, called: Collection[str]) -> str:
        """Return this request as text for ``--kernels``, with a related op in place of each op that is not called."""
        overrides = {target: name for target, name in self.overrides.items() if target.partition("/")[0] in called}
        for target, name in self.overrides.items():
            op = target.partition("/")[0]
            if op not in called and (other := _related(op, called)):
                overrides.setdefault(other, _similar(table.variant(op, name), table.variants[other]))
        base = [] if self.base == BASES[0] and overrides else [self.base]
        return ",".join([*base, *(f"{target}={name}" for target, name in overrides.items())])


def _related(op: str, called: Collection[str]) -> str | None:
    """Return the shortest called op whose name has all words of `op`, or all of whose words `op` has; None if there is none."""
    words = set(op.split("_"))
    related = []
    for other in called:
        known = set(other.split("_"))
        if (words <= known or known <= words) and (BACKWARD in words) == (BACKWARD in known):
            related.append(other)
    return min(related, key=lambda name: (len(name), name), default=None)


def _similar(variant: Variant, others: Mapping[str, Variant]) -> str:
    """Return the name of the variant in `others` that is most similar to `variant`: same name, else same backend."""
    same = [name for name, other in others.items() if other.backend == variant.backend and not name.endswith(NAIVE)]
    return variant.name if variant.name in others else min(same, default="numpy")


def parse_kernels(text: str) -> KernelRequest:
    """Parse ``best``, ``numpy``, ``numba``, ``cuda``, ``op=variant,...`` (optionally after a base) or the name of a TOML file.

    A TOML file has a table ``[kernels]`` with lines ``op = "variant"`` or ``"op/label" = "variant"``, and optionally ``base``.

    Raises
    ------
    RequestError
        The text has none of these forms, it names two variants of an op, or the file cannot be read.
    """
    if text.endswith(".toml"):
        return _read(Path(text))
    base = "best"
    overrides: dict[str, str] = {}
    for word in text.split(","):
        key, equals, name = (part.strip() for part in word.partition("="))
        if equals and key and name:
            if overrides.setdefault(key, name) != name:
                raise RequestError(f"--kernels names two variants of {key}, {overrides[key]!r} and {name!r}; keep one")
        elif equals or word != text.split(",", maxsplit=1)[0]:
            raise RequestError(f"--kernels: {word!r} is not of the form op=variant")
        else:
            base = _base(key)
    return KernelRequest(base, overrides)


def _base(name: str) -> str:
    if name not in BASES:
        raise UnknownNameError("kernel set", name, [*BASES, "op=variant,...", "FILE.toml"])
    return name


def _read(path: Path) -> KernelRequest:
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"--kernels {str(path)!r} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"--kernels {str(path)!r} is not TOML: {error}") from error
    table = data.get("kernels")
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise RequestError(f'--kernels {str(path)!r} needs a table [kernels] of lines such as matmul = "numba_packed"')
    overrides = {key: value for key, value in table.items() if key != "base"}
    return KernelRequest(_base(table.get("base", "best")), overrides)
