"""Mutants as variants: a mutant is a folder with copies of a variant and of its headers, one of them with a planted bug."""

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
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.mutation.rules import Mutation
    from registry.variant import Variant

__all__ = ["MUTANTS", "Candidate", "Mutant", "candidates", "chosen", "headers_of", "plant", "same_code"]

MUTANTS = ROOT / ".cache" / "mutants"  # folders are named by a hash of their contents, so that compiled code is found again
MOST_VARIANTS = 6  # variants on which the change of a constant in a header is tried


@dataclass(frozen=True)
class Candidate:
    """A planted bug and the variants that it changes: one variant, or the variants that use the changed lines of a header."""

    mutation: Mutation
    variants: tuple[Variant, ...]


@dataclass
class Mutant:
    """A planted bug as a variant.

    Attributes
    ----------
    name : str
        Name of the mutated variant.
    folder : Path
        The folder that holds the mutated variant.
    others : tuple of Variant
        More variants that a change of a header may change.
    status : str
        ``not compiling``, ``equivalent`` (the compiler generates the same code), or "" if the mutant must be proven.
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
        """The changed file, relative to the project's folder."""
        path = self.mutation.path
        return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def headers_of(source: Path) -> list[Path]:
    """Return the headers of the project that a source includes, directly or through other headers."""
    headers: dict[Path, None] = {}
    waiting = [source]
    while waiting:
        for name in re.findall(r'^#include "([^"]+)"', waiting.pop().read_text(), re.MULTILINE):
            if (path := INCLUDE / name) not in headers:
                headers[path] = None
                waiting.append(path)
    return list(headers)


def candidates(variants: Iterable[Variant]) -> list[Candidate]:
    """Return every bug that the rules can plant in these variants and their headers."""
    readers: dict[Path, list[Variant]] = {}
    for variant in variants:
        source = variant.path.with_suffix(".cu")
        for path in (source, *headers_of(source)):
            readers.setdefault(path, []).append(variant)
    pairs = [(mutation, _affected(mutation, users)) for path, users in readers.items() for mutation in mutations_of(path)]
    return [Candidate(mutation, tuple(affected)) for mutation, affected in pairs if affected]


def _affected(mutation: Mutation, variants: list[Variant]) -> list[Variant]:
    """Return the variants whose code comes from the lines around a change; for a constant of a header, a few random ones."""
    if mutation.path.suffix == ".cu":
        return variants
    blank = [0, *(n for n, line in enumerate(mutation.source.splitlines(), 1) if not line.strip()), len(mutation.source)]
    after = next(i for i, n in enumerate(blank) if n > mutation.line)
    lines = {(mutation.path.name, n) for n in range(blank[after - 1], blank[after])}
    shuffled = random.Random(mutation.text).sample(variants, len(variants))
    if "constexpr" in mutation.original:
        return shuffled[:MOST_VARIANTS]
    return [v for v in shuffled if lines & _lines_of(v)]


def chosen(every: list[Candidate], most: int, seed: int) -> list[Candidate]:
    """Return at most `most` candidates, spread evenly over the rules, and for each rule over the files."""
    shuffled = random.Random(seed).sample(every, len(every))
    groups: dict[str, dict[Path, list[Candidate]]] = {}
    for candidate in shuffled:
        groups.setdefault(candidate.mutation.rule.name, {}).setdefault(candidate.mutation.path, []).append(candidate)
    rules = [_in_turn(files.values()) for files in groups.values()]
    return _in_turn(rules)[:most]


def _in_turn(lists: Iterable[list[Candidate]]) -> list[Candidate]:
    """Return the first element of each list, then the second of each, and so on."""
    return [c for turn in zip_longest(*lists) for c in turn if c is not None]


def plant(candidate: Candidate) -> Mutant:
    """Write and compile the mutant of each affected variant in turn, and return the first one whose code differs."""
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
    """Return the source lines that the PTX of a variant names; for inlined code, clang names the lines of the callers too."""
    ptx = "\n".join(_ptx(variant.path.with_suffix(".cu"), options) for options in builds_of(variant))
    return frozenset((name, int(line)) for name, line in re.findall(r"([\w.]+\.cuh?):(\d+):\d+", ptx))


def _ptx(source: Path, options: tuple[str, ...]) -> str:
    """Compile with the launcher's options, so that the launcher finds the result in the cache.

    Headers in the folder of the source have precedence over the project's headers.
    """
    from simulator.clang import compile_to_ptx
    from simulator.errors import CompileError

    try:
        return compile_to_ptx(source, options=options, include=(INCLUDE,))
    except CompileError as error:
        raise CrucibleError(str(error)) from None


def same_code(ptx: str) -> str:
    """Return PTX without the information about source lines: equal texts are equal code."""
    code = re.sub(r"^\s*\.section\s+\.debug.*", "", ptx, flags=re.DOTALL | re.MULTILINE)
    return "\n".join(line for line in code.splitlines() if not re.match(r"\s*(\.loc|\.file|//|\$L__tmp\d+:|$)", line))


def _written(mutation: Mutation, variant: Variant) -> Mutant:
    """Write the files of a mutant: its Python file, its CUDA source and the headers."""
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
