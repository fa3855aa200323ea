"""Which variant each call of the program gets, and why: champions read from the records, never guessed."""

from __future__ import annotations

import math
import statistics
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.workloads import call_workload, step_name
from registry.commands import Folders, pasted
from registry.errors import EvidenceError, RequestError
from registry.fingerprint import source_hash
from trainer.shape_checks import Comparisons, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from models.builder import Call
    from registry.records import Champion, Evidence, Run, Store
    from registry.table import Table
    from registry.variant import Variant
    from trainer.kernel_request import KernelRequest, Need
    from trainer.program import Outline

__all__ = ["Choice", "Chooser"]

NAIVE = "_naive"


@dataclass(frozen=True)
class Choice:
    """A variant and the reason for it.

    Attributes
    ----------
    detail : str
        What ``--explain`` adds: the runner-up, and how certain the difference is.
    """

    variant: Variant
    reason: str
    detail: str = ""


class Chooser:
    """Chooses variants for the calls of one outline out of the records of this machine.

    Parameters
    ----------
    threads : int
        Champions of as many threads are preferred, where the program runs on the CPU.
    device : {"host", "sim", "cuda"}
        Where the program runs: champions are those of this device.
    protocol : str
        Of two champions of the same shape, the one that was raced like this is taken.
    """

    def __init__(
        self, table: Table, store: Store, outline: Outline, threads: int, device: str = "host", protocol: str = ""
    ) -> None:
        self.table, self.store, self.threads, self.device, self.protocol = table, store, threads, device, protocol
        self.needs: dict[Need, Call] = outline.needs()
        self.dtype = outline.dtype
        self.step = step_name(outline.model, outline.batch, outline.sequence)
        self.comparisons = Comparisons(store, outline, device, threads)
        self._proven: dict[str, str] = {}

    def choose(self, request: KernelRequest) -> dict[Need, Choice]:
        """Return a choice for every op and label.

        Raises
        ------
        EvidenceError
            A named variant, or every candidate, has no fresh evidence; the message holds the command to make it.
        RequestError
            The base or a named variant runs on another device, or takes other dtypes only.
        """
        self._check_device(request)
        named = request.resolve(self.table, self.needs)
        if self.device == "host" and self.dtype != "float32" and request.base != "numpy" and self.needs.keys() - named.keys():
            raise RequestError(
                f"--dtype {self.dtype}: no variant of the CPU takes it; train with --device sim or cuda, "
                "or with --kernels numpy, the plain definitions"
            )
        for variant in {id(v): v for v in named.values()}.values():
            if not self._runs_here(variant):
                raise RequestError(f"--kernels: {variant} does not run on device {self.device!r}; choose it with --device")
            if self.dtype not in variant.dtypes:
                raise RequestError(f"--kernels: {variant} takes {', '.join(variant.dtypes)}, not --dtype {self.dtype}")
            self._require_proof(variant)
        for need, variant in named.items():
            self._require_no_failure(need, variant)
        chosen = {}
        for need, call in self.needs.items():
            if need in named:
                chosen[need] = Choice(named[need], "asked for")
            elif request.base == "numpy" and self.device == "host":
                chosen[need] = Choice(self.table.variant(need[0], "numpy"), "the plain definition")
            elif request.base == "numba" and self.device == "host":
                chosen[need] = self._fastest_numba(need, call)
            else:
                chosen[need] = self._best(need, call)
        return chosen

    def _best(self, need: Need, call: Call) -> Choice:
        return self.champion(need, call) or (self._fallback if self.device == "host" else self._highest_cuda)(need, call)

    def without_champion(self, request: KernelRequest) -> list[str]:
        """Return the ops that `request` needs a champion of and that have none, but might: not all their variants failed."""
        if self.device == "sim" or (self.device == "host" and request.base != "best"):
            return []
        named = request.resolve(self.table, self.needs)
        # A race would crown again a champion that is only wrong at a shape of this run.
        missing = {need[0] for need, call in self.needs.items() if need not in named and not self._champions(need, call)}
        return sorted(op for op in missing if any(self._may_win(v) for v in self._here(op)))

    def champion(self, need: Need, call: Call) -> Choice | None:
        """Return the champion of this call, or of the most similar one that was raced here, if it still holds."""
        op, workload = need[0], call_workload(self.step, call)
        candidates = [c for c in self._champions(need, call) if self._is_right(need, self.table.variant(op, c.variant))]
        if not candidates:
            return None
        on_host = self.device == "host"

        def unlikeness(c: Champion) -> tuple[bool, bool, float, bool]:
            other_threads = on_host and c.threads != self.threads
            return other_threads, c.workload != workload, _distance(c.dims, call.dims), c.protocol != self.protocol

        best = min(candidates, key=unlikeness)
        reason = f"champion of {best.workload}" if on_host else f"champion of {best.workload} on this GPU ({best.protocol})"
        if best.workload != workload:
            reason += ", the most similar shape raced here"
        if on_host and best.threads != self.threads:
            reason += f" with {best.threads} threads"
        return Choice(self.table.variant(op, best.variant), reason, _detail(best))

    def one_pool(self, request: KernelRequest, choices: Mapping[Need, Choice]) -> dict[Need, Choice] | None:
        """Return `choices` with the fastest numba variant for every library call, or None if that changes nothing.

        What was asked for by name stays, and so does what has no proven numba variant.
        """
        if request.base != "best":
            return None
        named, changed = request.resolve(self.table, self.needs), {}
        for need, choice in choices.items():
            if need not in named and choice.variant.backend == "numpy" and not choice.variant.is_reference:
                with suppress(EvidenceError):
                    changed[need] = self._fastest_numba(need, self.needs[need])
        return {**choices, **changed} if changed else None

    def unproven_on_gpu(self) -> list[str]:
        """Return the ops of the program of which no CUDA variant is proven on this device, but some might be."""
        if self.device == "host":
            return []
        ops = sorted({op for op, _ in self.needs})
        known = {op: self._here(op) for op in ops}
        return [op for op in ops if known[op] and all(self._is_open(self.store.proof(v, self.device)) for v in known[op])]

    def unproven(self, ops: Iterable[str]) -> dict[str, list[str]]:
        """Return, per op, the variants that have no fresh evidence of any outcome, or that of a partial proof only.

        Where there are others, the naive rungs are left out: they are there to be read, and a first run is to start soon.
        """
        found = {}
        for op in ops:
            candidates = [v for v in self._here(op) if not v.is_reference]
            able = [v for v in candidates if not v.name.endswith(NAIVE)] or candidates
            found[op] = [v.name for v in able if self._is_open(self.store.proof(v))]
        return {op: names for op, names in found.items() if names}

    def _champions(self, need: Need, call: Call) -> list[Champion]:
        """Return the champions of the op that still hold and take this call."""
        return [c for c in self.store.champions() if c.op == need[0] and self._holds(c, call)]

    def _is_right(self, need: Need, variant: Variant) -> bool:
        """Whether no comparison found the variant wrong at a shape of this run."""
        return self.comparisons.wrong(need, variant) is None

    def _holds(self, champion: Champion, call: Call) -> bool:
        """Whether the champion was raced here in this dtype, is still what was raced, is proven, and takes this call."""
        if (champion.device, champion.dtype) != (self.device, call.dtype):
            return False
        variant = self.table.variants[champion.op].get(champion.variant)
        if variant is None or champion.source != source_hash(variant) or not self._is_proven(variant):
            return False
        return not call.refusals(variant)

    def _runs_here(self, variant: Variant) -> bool:
        return (variant.device == "host") == (self.device == "host")

    def _here(self, op: str) -> list[Variant]:
        return [v for v in self.table.variants[op].values() if self._runs_here(v) and self.dtype in v.dtypes]

    def _check_device(self, request: KernelRequest) -> None:
        if self.device == "host" and request.base == "cuda":
            raise RequestError("--kernels cuda: CUDA variants run on --device sim (no GPU needed) or --device cuda")
        if self.device != "host" and request.base in {"numpy", "numba"}:
            raise RequestError(f"--kernels {request.base}: these run on the CPU; --device {self.device} takes --kernels cuda")

    @staticmethod
    def _is_open(proof: Evidence | None) -> bool:
        """Whether a whole proof is still to be made."""
        return proof is None or proof.status == "partial"

    def _is_proven(self, variant: Variant) -> bool:
        key = str(variant)
        if key not in self._proven:
            proof = self.store.proof(variant, self.device)
            self._proven[key] = proof.status if proof else "unproven"
        return self._proven[key] == "passed"

    def _may_win(self, variant: Variant) -> bool:
        proof = self.store.proof(variant, self.device)
        return not variant.is_reference and (proof is None or proof.status == "passed" or self._is_open(proof))

    def _require_proof(self, variant: Variant) -> None:
        if not variant.is_reference:  # the definition is what the others are measured by
            self.store.require_proof(variant, self.device)

    def _require_no_failure(self, need: Need, variant: Variant) -> None:
        if (wrong := self.comparisons.wrong(need, variant)) is not None:
            instead = "numpy" if self.device == "host" else "VARIANT"
            with suppress(EvidenceError):
                instead = self._best(need, self.needs[need]).variant.name
            raise refuse(wrong, instead)

    def _usable(self, need: Need, call: Call, variants: Iterable[Variant]) -> list[Variant]:
        """Return those of `variants` that are proven, take this call, and were not found wrong at a shape of this run."""
        able = [v for v in variants if self._is_proven(v) and not call.refusals(v)]
        return [v for v in able if self._is_right(need, v)]

    def _highest_cuda(self, need: Need, call: Call) -> Choice:
        """Return the highest proven rung, where no race has crowned anybody."""
        proven = self._usable(need, call, self._here(need[0]))
        if not proven:
            raise EvidenceError(
                f"no CUDA variant of {need[0]} is proven on device {self.device!r}; "
                f"make it with: {self._verify(need[0], '--device', self.device)}"
            )
        raced = "" if self.device == "sim" else ", not raced on this GPU"
        return Choice(max(proven, key=lambda v: (self._rung(v), v.name)), f"proven on {self.device}{raced}; the highest rung")

    def _fastest_numba(self, need: Need, call: Call) -> Choice:
        proven = self._usable(need, call, [v for v in self.table.variants[need[0]].values() if v.backend == "numba"])
        if not proven:
            raise EvidenceError(
                f"no numba variant of {need[0]} has fresh evidence on this machine; "
                f"make it with: {self._verify(need[0], '--variant', 'numba_*')}"
            )
        if (fastest := self._fastest_raced(need, call, proven)) is not None:
            return Choice(fastest[0], f"the fastest numba variant of {fastest[1]}")
        highest = max(proven, key=lambda v: (self._rung(v), v.name))
        return Choice(highest, "proven, never raced; the highest rung of the ladder")

    def _fastest_raced(self, need: Need, call: Call, proven: Iterable[Variant]) -> tuple[Variant, str] | None:
        """Return which of `proven` is the fastest in the newest of the most similar races, and the race's workload."""
        runs = [r for r in self.store.runs() if r.op == need[0] and r.device == "host" and r.dtype == self.dtype]
        # The newest of equally similar ones first.
        ranked = sorted(enumerate(runs), key=lambda r: (r[1].threads != self.threads, _distance(r[1].dims, call.dims), -r[0]))
        for _, run in ranked:
            times = _times(run, proven)
            if times:
                return self.table.variant(need[0], min(times, key=lambda name: times[name])), run.workload
        return None

    def _fallback(self, need: Need, call: Call) -> Choice:
        """Return the highest proven rung where a race crowned nobody, and the definition where nothing is proven."""
        usable = self._usable(need, call, [v for v in self._here(need[0]) if not v.is_reference])
        wrong = any(not self._is_right(need, v) for v in self._here(need[0]))
        if not usable:
            why = "no proven variant is right at the shapes of this run" if wrong else "nothing is proven here"
            reason = f"slow: {why}; see {self._verify(need[0])}"
            return Choice(self.table.variant(need[0], "numpy"), reason)
        if wrong and (fastest := self._fastest_raced(need, call, usable)) is not None:
            return Choice(fastest[0], f"the fastest of {fastest[1]} that is right at the shapes of this run")
        return Choice(max(usable, key=lambda v: (self._rung(v), v.name)), "proven, no champion; the highest rung of the ladder")

    def _verify(self, op: str, *words: str) -> str:
        """Return the command that proves variants of `op` where this chooser looks for proofs."""
        return pasted("harness.verify", "--op", op, *words, folders=Folders(self.table.folders, self.store.root))

    def _rung(self, variant: Variant) -> int:
        """Return how many variants of the same op the ladder has below this one."""
        height, known, seen = 0, self.table.variants[variant.op.name], {variant.name}
        while (below := variant.notes.builds_on) in known and below not in seen:
            seen.add(below)
            height, variant = height + 1, known[below]
        return height


def _distance(raced: Mapping[str, int], wanted: Mapping[str, int]) -> float:
    """Return how far two shapes are apart: the sum over dims of the doublings between them."""
    if raced.keys() != wanted.keys():
        return math.inf
    return sum(abs(math.log2((raced[d] + 1) / (wanted[d] + 1))) for d in wanted)


def _times(run: Run, proven: Iterable[Variant]) -> dict[str, float]:
    """Return the median times of the variants that raced in `run` as they are now."""
    hashes = {v.name: source_hash(v) for v in proven}
    rows = [r for r in run.rows if r.samples_ms and not r.yardstick and hashes.get(r.variant) == r.source]
    return {r.variant: statistics.median(r.samples_ms) for r in rows}


def _detail(champion: Champion) -> str:
    if not champion.runner_up:
        return champion.reason or "the only proven contestant"
    interval = f"{champion.ratio:.2f} ({champion.ratio_low:.2f}-{champion.ratio_high:.2f}) times the time"
    return f"{champion.runner_up} takes {interval}" + (f"; {champion.reason}" if champion.reason else "")
