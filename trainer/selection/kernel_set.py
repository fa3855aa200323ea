"""Choose a variant for each call of the program, with a reason. Champions come from the stored records only."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.workloads import call_workload, step_name
from registry.commands import Folders, pasted
from registry.enums import Device, Status
from registry.errors import EvidenceError, RequestError
from registry.fingerprint import source_hash
from trainer.selection.kernel_request import NAIVE
from trainer.selection.shape_checks import Comparisons, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from models.builder import Call
    from registry.records import Champion, Evidence, Run, Store
    from registry.table import Table
    from registry.variant import Variant
    from trainer.program.template import CallKey, StepTemplate
    from trainer.selection.kernel_request import KernelRequest

__all__ = ["Choice", "Chooser"]


@dataclass(frozen=True)
class Choice:
    """A variant and the reason for it.

    Attributes
    ----------
    detail : str
        Text that ``--explain`` adds: the runner-up, and the interval of the difference.
    """

    variant: Variant
    reason: str
    detail: str = ""


class Chooser:
    """Chooses variants for the calls of one step template, from the records of this machine.

    Parameters
    ----------
    threads : int
        CPU threads of the run. On the CPU, champions of races with this number of threads come first.
    device : Device
        The device of the program. Only champions of this device count.
    protocol : str
        Of two champions of the same shape, the chooser takes the champion of this protocol.
    """

    def __init__(
        self, table: Table, store: Store, template: StepTemplate, threads: int, device: Device = Device.CPU, protocol: str = ""
    ) -> None:
        self.table, self.store, self.threads, self.device, self.protocol = table, store, threads, device, protocol
        self.calls: dict[CallKey, Call] = template.calls_by_key()
        self.dtype = template.dtype
        self.step = step_name(template.model, template.batch, template.sequence)
        self.comparisons = Comparisons(store, template, device, threads)
        self._proven: dict[str, bool] = {}

    def choose(self, request: KernelRequest) -> dict[CallKey, Choice]:
        """Return a choice for every op and label.

        Raises
        ------
        EvidenceError
            A named variant, or every candidate, has no fresh evidence. The message holds the command that proves it.
        RequestError
            The base or a named variant runs on another device or in other dtypes only.
        """
        self._check_device(request)
        named = request.resolve(self.table, self.calls)
        if (
            self.device == Device.CPU
            and self.dtype != "float32"
            and request.base != "numpy"
            and self.calls.keys() - named.keys()
        ):
            raise RequestError(
                f"--dtype {self.dtype}: no CPU variant takes it; train with --device sim or cuda, "
                "or with --kernels numpy, the references"
            )
        for variant in {id(v): v for v in named.values()}.values():
            if not self._runs_here(variant):
                other = Device.CPU if variant.device == Device.CPU else f"{Device.SIM} or {Device.CUDA}"
                raise RequestError(f"--kernels: {variant} does not run on --device {self.device}; choose --device {other}")
            if self.dtype not in variant.dtypes:
                raise RequestError(f"--kernels: {variant} takes {', '.join(variant.dtypes)}, not --dtype {self.dtype}")
            self._require_proof(variant)
        for key, variant in named.items():
            self._require_no_failure(key, variant)
        chosen = {}
        for key, call in self.calls.items():
            if key in named:
                chosen[key] = Choice(named[key], "named in --kernels")
            elif request.base == "numpy" and self.device == Device.CPU:
                chosen[key] = Choice(self.table.variant(key[0], "numpy"), "the numpy reference")
            elif request.base == "numba" and self.device == Device.CPU:
                chosen[key] = self._fastest_numba(key, call)
            else:
                chosen[key] = self._best(key, call)
        return chosen

    def _best(self, key: CallKey, call: Call) -> Choice:
        return self.champion(key, call) or (self._fallback if self.device == Device.CPU else self._highest_cuda)(key, call)

    def without_champion(self, request: KernelRequest) -> list[str]:
        """Return the ops without a champion for which `request` needs one and a race can still find one.

        An op whose race crowned nobody is not raced again until a variant of that race changes: its calls get the fastest
        variant of the race.
        """
        if self.device == Device.SIM or (self.device == Device.CPU and request.base != "best"):
            return []
        named = request.resolve(self.table, self.calls)
        # A champion that is wrong only at a shape of this run would win the race again, so it does not count as missing.
        uncrowned = {key: call for key, call in self.calls.items() if key not in named and not self._champions(key, call)}
        missing = {key[0] for key, call in uncrowned.items() if not self._was_raced_in_vain(key, call)}
        return sorted(op for op in missing if any(self._may_win(v) for v in self._here(op)))

    def champion(self, key: CallKey, call: Call) -> Choice | None:
        """Return the valid champion of this call, or of the most similar raced shape; None if there is none."""
        op, workload = key[0], call_workload(self.step, call)
        candidates = [c for c in self._champions(key, call) if self._is_right(key, self.table.variant(op, c.variant))]
        if not candidates:
            return None
        on_cpu = self.device == Device.CPU

        def unlikeness(c: Champion) -> tuple[bool, bool, float, bool]:
            other_threads = on_cpu and c.threads != self.threads
            return other_threads, c.workload != workload, _distance(c.dims, call.dims), c.protocol != self.protocol

        best = min(candidates, key=unlikeness)
        reason = f"champion of {best.workload}" if on_cpu else f"champion of {best.workload} on this GPU ({best.protocol})"
        if best.workload != workload:
            reason += ", the most similar shape raced here"
        if on_cpu and best.threads != self.threads:
            reason += f" with {best.threads} threads"
        return Choice(self.table.variant(op, best.variant), reason, _detail(best))

    def without_blas(self, request: KernelRequest, choices: Mapping[CallKey, Choice]) -> dict[CallKey, Choice] | None:
        """Return `choices` with the fastest numba variant in place of every BLAS call; None if there is nothing to replace.

        Variants that the user named stay, and so do BLAS calls of ops without a proven numba variant.
        """
        if request.base != "best":
            return None
        named, changed = request.resolve(self.table, self.calls), {}
        for key, choice in choices.items():
            if key not in named and choice.variant.backend == "numpy" and not choice.variant.is_reference:
                with suppress(EvidenceError):
                    changed[key] = self._fastest_numba(key, self.calls[key])
        return {**choices, **changed} if changed else None

    def unproven_on_gpu(self) -> list[str]:
        """Return the ops of the program whose CUDA variants all lack a complete proof on this device."""
        if self.device == Device.CPU:
            return []
        ops = sorted({op for op, _ in self.calls})
        known = {op: self._here(op) for op in ops}
        return [op for op in ops if known[op] and all(self._is_open(self.store.proof(v, self.device)) for v in known[op])]

    def unproven(self, ops: Iterable[str]) -> dict[str, list[str]]:
        """Return the variants of each op that have no fresh evidence, or only the evidence of a partial proof.

        If an op has other variants, its naive rungs are left out, so that a first run starts sooner.
        """
        unproven = {}
        for op in ops:
            candidates = [v for v in self._here(op) if not v.is_reference]
            able = [v for v in candidates if not v.name.endswith(NAIVE)] or candidates
            unproven[op] = [v.name for v in able if self._is_open(self.store.proof(v))]
        return {op: names for op, names in unproven.items() if names}

    def _champions(self, key: CallKey, call: Call) -> list[Champion]:
        """Return the valid champions of the op whose variants take this call."""
        return [c for c in self.store.champions() if c.op == key[0] and self._holds(c, call)]

    def _is_right(self, key: CallKey, variant: Variant) -> bool:
        """Whether the variant failed no recorded comparison at the shapes of this run."""
        return self.comparisons.wrong(key, variant) is None

    def _holds(self, champion: Champion, call: Call) -> bool:
        """Whether the champion is of this device and dtype, has unchanged sources, is proven, and takes this call."""
        if (champion.device, champion.dtype) != (self.device, call.dtype):
            return False
        variant = self.table.variants[champion.op].get(champion.variant)
        if variant is None or champion.source != source_hash(variant) or not self._is_proven(variant):
            return False
        return not call.refusals(variant)

    def _runs_here(self, variant: Variant) -> bool:
        return (variant.device == Device.CPU) == (self.device == Device.CPU)

    def _here(self, op: str) -> list[Variant]:
        return [v for v in self.table.variants[op].values() if self._runs_here(v) and self.dtype in v.dtypes]

    def _check_device(self, request: KernelRequest) -> None:
        if self.device == Device.CPU and request.base == "cuda":
            raise RequestError("--kernels cuda: CUDA variants run on --device sim (no GPU needed) or --device cuda")
        if self.device != Device.CPU and request.base in {"numpy", "numba"}:
            raise RequestError(
                f"--kernels {request.base}: these variants run on the CPU; --device {self.device} takes --kernels cuda"
            )

    @staticmethod
    def _is_open(proof: Evidence | None) -> bool:
        """Whether the variant still lacks a complete proof."""
        return proof is None or proof.status == Status.PARTIAL

    def _is_proven(self, variant: Variant) -> bool:
        key = str(variant)
        if key not in self._proven:
            proof = self.store.proof(variant, self.device)
            self._proven[key] = proof is not None and proof.status == Status.PASSED
        return self._proven[key]

    def _may_win(self, variant: Variant) -> bool:
        proof = self.store.proof(variant, self.device)
        return not variant.is_reference and (proof is None or proof.status == Status.PASSED or self._is_open(proof))

    def _require_proof(self, variant: Variant) -> None:
        if not variant.is_reference:  # other variants are proven against the reference, so the reference needs no proof
            self.store.require_proof(variant, self.device)

    def _require_no_failure(self, key: CallKey, variant: Variant) -> None:
        if (wrong := self.comparisons.wrong(key, variant)) is not None:
            instead = "numpy" if self.device == Device.CPU else "VARIANT"
            with suppress(EvidenceError):
                instead = self._best(key, self.calls[key]).variant.name
            raise refuse(wrong, instead)

    def _usable(self, key: CallKey, call: Call, variants: Iterable[Variant]) -> list[Variant]:
        """Return the proven variants of `variants` that take this call and failed no comparison at the shapes of this run."""
        able = [v for v in variants if self._is_proven(v) and not call.refusals(v)]
        return [v for v in able if self._is_right(key, v)]

    def _highest_cuda(self, key: CallKey, call: Call) -> Choice:
        """Return the highest proven rung of an op without a champion."""
        candidates = self._here(key[0])
        proven = self._usable(key, call, candidates)
        if not proven:
            missing = f"no CUDA variant of {key[0]} is proven on device {self.device}"
            command = self._verify(key[0], "--device", self.device)
            raise self._none_usable(key, call, candidates, "CUDA") or EvidenceError(f"{missing}; make it with: {command}")
        raced = "" if self.device == Device.SIM else ", not raced on this GPU"
        return Choice(max(proven, key=lambda v: (self._rung(v), v.name)), f"proven on {self.device}{raced}; the highest rung")

    def _fastest_numba(self, key: CallKey, call: Call) -> Choice:
        candidates = [v for v in self.table.variants[key[0]].values() if v.backend == "numba"]
        proven = self._usable(key, call, candidates)
        if not proven:
            missing = f"no numba variant of {key[0]} has fresh evidence on this machine"
            command = self._verify(key[0], "--variant", "numba_*")
            raise self._none_usable(key, call, candidates, "numba") or EvidenceError(f"{missing}; make it with: {command}")
        if (fastest := self._fastest_raced(key, call, proven)) is not None:
            return Choice(fastest[0], f"the fastest numba variant of {fastest[1]}")
        highest = max(proven, key=lambda v: (self._rung(v), v.name))
        return Choice(highest, "proven, never raced; the highest rung of the ladder")

    def _none_usable(self, key: CallKey, call: Call, candidates: Iterable[Variant], kind: str) -> EvidenceError | None:
        """Return the error that no proven candidate can run this call, with the reasons; None if no candidate is proven."""
        proven = sorted((v for v in candidates if self._is_proven(v)), key=lambda v: v.name)
        if not proven:
            return None
        wrong = {v.name: one for v in proven if (one := self.comparisons.wrong(key, v)) is not None}
        reasons = [f"{v.name} refuses the call ({'; '.join(why)})" for v in proven if (why := call.refusals(v))]
        if wrong:
            shown = next(iter(wrong.values())).reproduce
            reasons.insert(0, f"{', '.join(wrong)} gave wrong outputs at its shapes, see: {shown}")
        target = "/".join(filter(None, key))
        if self.device == Device.CPU:
            reasons.append(f"run the reference with: --kernels {kind},{target}=numpy")
        return EvidenceError(f"no proven {kind} variant of {target} can run in this step: {'; '.join(reasons)}")

    def _fastest_raced(self, key: CallKey, call: Call, proven: Iterable[Variant]) -> tuple[Variant, str] | None:
        """Return the fastest variant of `proven` in the most similar race, and the workload of that race."""
        runs = self._races(key)
        # Of equally similar races, the newest comes first.
        ranked = sorted(enumerate(runs), key=lambda r: (r[1].threads != self.threads, _distance(r[1].dims, call.dims), -r[0]))
        sources = {variant.name: source_hash(variant) for variant in proven}
        for _, run in ranked:
            if rows := run.ranked(sources):
                return self.table.variant(key[0], rows[0].variant), run.workload
        return None

    def _was_raced_in_vain(self, key: CallKey, call: Call) -> bool:
        """Whether a race of unchanged variants, one of them usable, exists for a call on the CPU that has no champion."""
        if self.device != Device.CPU:
            return False
        here = self._here(key[0])
        usable = {v.name for v in self._usable(key, call, here) if not v.is_reference}
        hashes = {v.name: source_hash(v) for v in here}
        races = ({r.variant: r.source for r in run.rows if r.samples_ms and not r.baseline} for run in self._races(key))
        return any(raced.keys() & usable and raced.items() <= hashes.items() for raced in races)

    def _races(self, key: CallKey) -> list[Run]:
        """Return the races of an op on the CPU, oldest first."""
        return [r for r in self.store.runs_of(key[0]) if (r.device, r.dtype) == (Device.CPU, self.dtype)]

    def _fallback(self, key: CallKey, call: Call) -> Choice:
        """Return a variant of an op without a champion: a proven one if there is one, else the reference."""
        usable = self._usable(key, call, [v for v in self._here(key[0]) if not v.is_reference])
        wrong = any(not self._is_right(key, v) for v in self._here(key[0]))
        if not usable:
            why = "no proven variant is right at the shapes of this run" if wrong else "nothing is proven here"
            reason = f"slow: {why}; see {self._verify(key[0])}"
            return Choice(self.table.variant(key[0], "numpy"), reason)
        if (fastest := self._fastest_raced(key, call, usable)) is not None:
            which = " that is right at the shapes of this run" if wrong else ", which has no valid champion"
            return Choice(fastest[0], f"the fastest of {fastest[1]}{which}")
        return Choice(max(usable, key=lambda v: (self._rung(v), v.name)), "proven, no champion; the highest rung of the ladder")

    def _verify(self, op: str, *words: str) -> str:
        """Return the command that proves variants of `op` and stores the evidence in the folder of this chooser."""
        return pasted("harness.verify", "--op", op, *words, folders=Folders(self.table.folders, self.store.root))

    def _rung(self, variant: Variant) -> int:
        """Return the number of rungs below this variant in its ladder."""
        height, known, seen = 0, self.table.variants[variant.op.name], {variant.name}
        while (below := variant.notes.builds_on) in known and below not in seen:
            seen.add(below)
            height, variant = height + 1, known[below]
        return height


def _distance(raced: Mapping[str, int], wanted: Mapping[str, int]) -> float:
    """Return the distance of two shapes: the sum over the dims of the absolute log2 ratio of the sizes."""
    if raced.keys() != wanted.keys():
        return math.inf
    return sum(abs(math.log2((raced[d] + 1) / (wanted[d] + 1))) for d in wanted)


def _detail(champion: Champion) -> str:
    if not champion.runner_up:
        return champion.reason or "the only proven contestant"
    interval = f"{champion.ratio:.2f} ({champion.ratio_low:.2f}-{champion.ratio_high:.2f}) times the time"
    return f"{champion.runner_up} takes {interval}" + (f"; {champion.reason}" if champion.reason else "")
