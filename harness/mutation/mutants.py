"""Mutants as variants: a planted bug in a folder of its own, beside copies of the variant and of the headers it reads."""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cuda.builds import builds_of
from harness.mutation.rules import mutations_of
from registry.cuda import INCLUDE
from registry.errors import CrucibleError
from registry.table import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.mutation.rules import Mutation
    from registry.variant import Variant

__all__ = ["MUTANTS", "Candidate", "Mutant", "candidates", "chosen", "headers_of", "plant", "same_code"]

MUTANTS = ROOT / ".cache" / "mutants"  # named by their contents, so that what was compiled is found again
TRIED_IN_VAIN = 6  # variants that a change of a constant in a header is tried on


@dataclass(frozen=True)
class Candidate:
    """A planted bug, and the variants that have it: one, or all whose code comes from that place of a header."""

    mutation: Mutation
    variants: tuple[Variant, ...]


@dataclass
class Mutant:
    """A planted bug in a variant that can be proven.

    Attributes
    ----------
    name : str
        Of the variant.
    folder : Path
        Where it stands.
    others : tuple of Variant
        More variants whose code a change of a header may have changed.
    status : str
        ``not compiling``, ``equivalent`` (the compiler makes the same code of it), "" if it is to be proven.
    """

    mutation: Mutation
    variant: Variant
    name: str = ""
    folder: Path = field(default_factory=Path)
    others: tuple[Variant, ...] = ()
    status: str = ""
    message: str = ""

    @property
    def file(self) -> str:
        """The file that was changed, below the project's folder."""
        path = self.mutation.path
        return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def headers_of(source: Path) -> list[Path]:
    """Return the headers of the project that a source reads, directly or not."""
    found: dict[Path, None] = {}
    waiting = [source]
    while waiting:
        for name in re.findall(r'^#include "([^"]+)"', waiting.pop().read_text(), re.MULTILINE):
            if (path := INCLUDE / name) not in found:
                found[path] = None
                waiting.append(path)
    return list(found)


def candidates(variants: Iterable[Variant]) -> list[Candidate]:
    """Return every planted bug that the rules know for these variants and their headers."""
    readers: dict[Path, list[Variant]] = {}
    for variant in variants:
        source = variant.path.with_suffix(".cu")
        for path in (source, *headers_of(source)):
            readers.setdefault(path, []).append(variant)
    every = [(mutation, _affected(mutation, having)) for path, having in readers.items() for mutation in mutations_of(path)]
    return [Candidate(mutation, tuple(affected)) for mutation, affected in every if affected]


def _affected(mutation: Mutation, variants: list[Variant]) -> list[Variant]:
    """Return the variants whose code comes from the lines around a change; for a constant of a header, a few of all."""
    if mutation.path.suffix == ".cu":
        return variants
    blank = [0, *(n for n, line in enumerate(mutation.source.splitlines(), 1) if not line.strip()), len(mutation.source)]
    after = next(i for i, n in enumerate(blank) if n > mutation.line)
    lines = {(mutation.path.name, n) for n in range(blank[after - 1], blank[after])}
    shuffled = random.Random(mutation.text).sample(variants, len(variants))
    if "constexpr" in mutation.original:
        return shuffled[:TRIED_IN_VAIN]
    return [v for v in shuffled if lines & _lines_of(v)]


def chosen(every: list[Candidate], most: int, seed: int) -> list[Candidate]:
    """Return at most so many: as many of each rule as there are, and of a rule as many of each file."""
    shuffled = random.Random(seed).sample(every, len(every))
    groups: dict[str, dict[Path, list[Candidate]]] = {}
    for candidate in shuffled:
        groups.setdefault(candidate.mutation.rule.name, {}).setdefault(candidate.mutation.path, []).append(candidate)
    rules = [_in_turn(files.values()) for files in groups.values()]
    return _in_turn(rules)[:most]


def _in_turn(lists: Iterable[list[Candidate]]) -> list[Candidate]:
    """Return the first of each list, then the second of each."""
    return [c for turn in zip_longest(*lists) for c in turn if c is not None]


def plant(candidate: Candidate) -> Mutant:
    """Write a mutant and compile it, on the first variant whose code it changes."""
    mutant = Mutant(candidate.mutation, candidate.variants[0])
    for number, variant in enumerate(candidate.variants, 1):
        mutant = _written(candidate.mutation, variant)
        try:
            source = mutant.folder / f"{mutant.name}.cu"
            after = tuple(same_code(_ptx(source, options)) for options in builds_of(variant))
        except CrucibleError as error:
            mutant.status, mutant.message = "not compiling", str(error)
            return mutant
        if after != _original_code(variant):
            mutant.others = candidate.variants[number:]
            return mutant
    mutant.status = "equivalent"
    return mutant


@cache
def _original_code(variant: Variant) -> tuple[str, ...]:
    return tuple(same_code(_ptx(variant.path.with_suffix(".cu"), options)) for options in builds_of(variant))


@cache
def _lines_of(variant: Variant) -> frozenset[tuple[str, int]]:
    """Return the lines that the code of a variant is made from; clang notes them all, those of its callers too."""
    ptx = "\n".join(_ptx(variant.path.with_suffix(".cu"), options) for options in builds_of(variant))
    return frozenset((name, int(line)) for name, line in re.findall(r"([\w.]+\.cuh?):(\d+):\d+", ptx))


def _ptx(source: Path, options: tuple[str, ...]) -> str:
    """Compile as the launcher does, so that it finds the result; headers beside the source come before the project's."""
    from simulator.clang import compile_to_ptx
    from simulator.errors import CompileError

    try:
        return compile_to_ptx(source, options=options, include=(INCLUDE,))
    except CompileError as error:
        raise CrucibleError(str(error)) from None


def same_code(ptx: str) -> str:
    """Return PTX without what only says which line it comes from: equal texts are equal code."""
    code = re.sub(r"^\s*\.section\s+\.debug.*", "", ptx, flags=re.DOTALL | re.MULTILINE)
    return "\n".join(line for line in code.splitlines() if not re.match(r"\s*(\.loc|\.file|//|\$L__tmp\d+:|$)", line))


def _written(mutation: Mutation, variant: Variant) -> Mutant:
    """Write the pair of files and the headers."""
    source = variant.path.with_suffix(".cu")
    texts = {path: path.read_text() for path in (variant.path, source, *headers_of(source))}
    texts[mutation.path] = mutation.text
    digest = hashlib.sha256("\0".join((variant.op.name, *texts.values())).encode()).hexdigest()[:12]
    name, folder = f"{variant.name}_{digest}", MUTANTS / digest
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        named = path.with_stem(name).name if path.stem == variant.name else path.name
        written = re.sub(rf"^def {variant.name}\(", f"def {name}(", text, flags=re.MULTILINE) if path == variant.path else text
        (folder / named).write_text(written)
    return Mutant(mutation, variant, name, folder)
