"""What ``--kernels`` asks for: a base set, and variants named for single ops or calls."""

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

__all__ = ["BASES", "KernelRequest", "parse_kernels"]

BASES = ("best", "numpy", "numba", "cuda")
BACKWARD, NAIVE = "backward", "_naive"
Need = tuple[str, str]


@dataclass(frozen=True)
class KernelRequest:
    """A base and exceptions from it.

    Attributes
    ----------
    base : {"best", "numpy", "numba", "cuda"}
    overrides : mapping of str to str
        ``op`` or ``op/label`` to variant; the longer key counts.
    """

    base: str = "best"
    overrides: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, table: Table, needs: Collection[Need]) -> dict[Need, Variant]:
        """Return the variants that were named, by op and label.

        Raises
        ------
        UnknownNameError
            An unknown op, label or variant.
        RequestError
            The op is not part of the program, or the variant's file cannot be loaded.
        """
        found: dict[Need, Variant] = {}
        for key, name in sorted(self.overrides.items(), key=lambda item: item[0].count("/")):
            op, slash, label = key.partition("/")
            variant = table.variant(op, name)
            labels = {known for other, known in needs if other == op}
            if not labels:
                called = {known for known, _ in needs}
                calls = _related(op, called) or ", ".join(sorted(called))
                way = f"it calls {calls}; try --kernels {shlex.quote(self._corrected(table, called))}"
                raise RequestError(f"--kernels {key}={name}: this GPT-2 step does not call {op}; {way}")
            if slash and label not in labels:
                raise UnknownNameError(f"call of {op}", label, labels)
            found.update({(op, known): variant for known in labels if not slash or known == label})
        return found

    def _corrected(self, table: Table, called: Collection[str]) -> str:
        """Return this request as ``--kernels`` takes it, with ops of the program in the place of those that are none."""
        kept = {key: name for key, name in self.overrides.items() if key.partition("/")[0] in called}
        for key, name in self.overrides.items():
            op = key.partition("/")[0]
            if op not in called and (other := _related(op, called)):
                kept.setdefault(other, _similar(table.variant(op, name), table.variants[other]))
        base = [] if self.base == BASES[0] and kept else [self.base]
        return ",".join([*base, *(f"{key}={name}" for key, name in kept.items())])


def _related(op: str, called: Collection[str]) -> str | None:
    """Return the op of the program whose name has all words of `op`, or the other way round; of several the shortest."""
    words = set(op.split("_"))
    found = []
    for other in called:
        known = set(other.split("_"))
        if (words <= known or known <= words) and (BACKWARD in words) == (BACKWARD in known):
            found.append(other)
    return min(found, key=lambda name: (len(name), name), default=None)


def _similar(variant: Variant, others: Mapping[str, Variant]) -> str:
    """Return the name of the variant of another op that is most like `variant`."""
    same = [name for name, other in others.items() if other.backend == variant.backend and not name.endswith(NAIVE)]
    return variant.name if variant.name in others else min(same, default="numpy")


def parse_kernels(text: str) -> KernelRequest:
    """Read ``best``, ``numpy``, ``numba``, ``cuda``, ``op=variant,...`` (after a base, if wanted) or the name of a TOML file.

    A TOML file has a table ``[kernels]`` of ``op = "variant"`` or ``"op/label" = "variant"``, and may have ``base``.

    Raises
    ------
    RequestError
        It is none of these, or the file cannot be read.
    """
    if text.endswith(".toml"):
        return _read(Path(text))
    base, overrides = "best", {}
    for word in text.split(","):
        key, equals, name = (part.strip() for part in word.partition("="))
        if equals and key and name:
            overrides[key] = name
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
