"""Select the kernels of a run. Variants without a record are proven and raced first."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.commands import Folders, pasted
from registry.enums import Device
from registry.machine import machine_key
from registry.records import Store
from registry.table import discover
from trainer.program.template import StepTemplate
from trainer.selection.kernel_request import parse_kernels
from trainer.selection.kernel_set import Chooser
from trainer.selection.missing_records import commands, make_champions, proofs_on
from trainer.selection.shape_checks import complaint, wrong_at_shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from registry.devices import DeviceMemory
    from registry.table import Table
    from registry.variant import Variant
    from trainer.program.arena import Plan
    from trainer.program.template import CallKey
    from trainer.selection.kernel_request import KernelRequest
    from trainer.selection.kernel_set import Choice
    from trainer.settings import Settings

__all__ = ["Kernels", "Selection", "open_selection"]

GRAPH, LAUNCHES = "cuda-graph", "cuda-cold"  # protocols of races: kernels in a CUDA graph, or launched one by one


@dataclass(frozen=True)
class Kernels:
    """The kernels of a run.

    Attributes
    ----------
    choices : mapping
        The variant and the reason for it, by op and label.
    alternative : mapping
        Another set that may make a step faster; the run times both sets. Empty if there is no other set.
    """

    choices: Mapping[CallKey, Choice]
    alternative: Mapping[CallKey, Choice] = dataclasses.field(default_factory=dict)

    @property
    def variants(self) -> dict[CallKey, Variant]:
        """The chosen variants by op and label."""
        return _variants(self.choices)

    @property
    def sets(self) -> list[dict[CallKey, Variant]]:
        """The chosen variants and, if there is an alternative, its variants: every variant that the run may call."""
        return [_variants(choices) for choices in (self.choices, self.alternative) if choices]

    def names(self) -> dict[str, str]:
        """Return the chosen names as ``--kernels`` accepts them: by op, or by op and label if the calls of an op differ."""
        per_op: dict[str, set[str]] = {}
        for (op, _), variant in self.variants.items():
            per_op.setdefault(op, set()).add(variant.name)
        return {op if len(per_op[op]) == 1 else f"{op}/{label}": variant.name for (op, label), variant in self.variants.items()}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The selection of the kernels of one run. No kernel is chosen before `choose`.

    Attributes
    ----------
    say : callable
        Prints a line of progress.
    request : KernelRequest
        The parsed value of ``--kernels``.
    store : Store
        The records of this machine, or of this GPU.
    template : StepTemplate
        The calls of a training step.
    """

    settings: Settings
    device: DeviceMemory
    say: Callable[[str], None]
    request: KernelRequest
    table: Table
    store: Store
    template: StepTemplate

    def choose(self) -> Kernels:
        """Return the kernels that the request names, and for other calls the kernels from the records of this machine.

        Raises
        ------
        RequestError
            A named kernel is unknown or not proven, or does not run on this device or in this dtype.
        """
        chooser = self._chooser()
        choices = chooser.choose(self.request)
        return Kernels(choices, chooser.without_blas(self.request, choices) or {})

    def choose_without_racing(self) -> Kernels:
        """Return the kernels for a plan, with the numpy reference for each op whose champion is still missing."""
        missing = self._missing()
        if missing:
            self.say(f"no champion yet, planned with the numpy reference: {', '.join(missing)}")
        overrides = {**dict.fromkeys(missing, "numpy"), **self.request.overrides}
        return Kernels(self._chooser().choose(dataclasses.replace(self.request, overrides=overrides)))

    def memory_plan(self, kernels: Kernels) -> Plan:
        """Return the memory plan, with a workspace that is large enough for each set of kernels."""
        return self.template.plan(self.settings.threads, *kernels.sets)

    def prove_on_gpu(self) -> None:
        """Prove the CUDA variants of each op without a proven variant on this device, a GPU or the simulator."""
        if lacking := self._chooser().unproven_on_gpu():
            place, settings = self.device.kind, self.settings
            self.say(f"nothing proven on device {place} for {', '.join(lacking)}: proving CUDA variants first (once)")
            make_champions(proofs_on(place, lacking, results=settings.results, kernels_path=settings.kernels_path), self.say)

    def race_missing(self) -> bool:
        """Prove and race the variants of each op that has no champion; return whether there was such an op."""
        if not (missing := self._missing()):
            return False
        self.say(f"no champion on this machine for {', '.join(missing)}: proving and racing their variants first (once)")
        chooser, settings = self._chooser(), self.settings
        wanted = commands(
            missing,
            chooser.unproven(missing),
            every_op=set(missing) == {op for op, _ in chooser.calls},
            step=chooser.step,
            threads=settings.threads,
            results=settings.results,
            kernels_path=settings.kernels_path,
        )
        make_champions(wanted, self.say)
        return True

    def right_at_shapes(self, kernels: Kernels) -> Kernels:
        """Compare each chosen variant once with the reference at the shapes of this run; return kernels that passed.

        Raises
        ------
        EvidenceError
            A variant that ``--kernels`` names is wrong at the shapes of this run, or no other variant is left.
        """
        named = {(target.partition("/")[0], variant) for target, variant in self.request.overrides.items()}
        while wrong := wrong_at_shapes(self.template, self.store, self.settings, self.device.kind, kernels.sets, self.say):
            # For a variant that the user named, `choose` raises an error with the same complaint.
            for one in wrong:
                if (one.op, one.variant) not in named:
                    self.say(f"{complaint(one)}; this run takes another variant")
            kernels = self.choose()
        return kernels

    def _missing(self) -> list[str]:
        """Return the ops whose champion a race can still find. On a GPU, print them with the race command and return none."""
        missing = self._chooser().without_champion(self.request)
        if missing and self.device.kind == Device.CUDA:
            dtype = () if self.settings.dtype == "float32" else ("--dtype", self.settings.dtype)
            folders = Folders(self.settings.kernels_path, self.settings.results)
            every = f"; race them with: {pasted('harness.bench', '--device', Device.CUDA, *dtype, folders=folders)}"
            self.say(f"not raced on this GPU, so the highest proven rung is taken: {', '.join(missing)}{every}")
            return []
        return missing

    def _chooser(self) -> Chooser:
        """Return a chooser that reads the current records."""
        protocol = GRAPH if self.settings.cuda_graph else LAUNCHES
        return Chooser(self.table, self.store, self.template, self.settings.threads, self.device.kind, protocol)


def open_selection(settings: Settings, device: DeviceMemory, say: Callable[[str], None]) -> Selection:
    """Find the variants, the records and the calls that the settings name.

    Raises
    ------
    RequestError
        ``--kernels`` cannot be read, or the file of a variant that it names cannot be loaded.
    """
    request = parse_kernels(settings.kernels)
    table = discover(*settings.kernels_path)
    for failed in table.unloadable:
        say(f"not loadable: {failed}")
    for key, name in request.overrides.items():
        table.requested(key.partition("/")[0], name)
    shape = settings.B, settings.T, settings.micro_steps, settings.ranks, settings.dtype
    return Selection(
        settings=settings,
        device=device,
        say=say,
        request=request,
        table=table,
        store=Store(settings.results, machine_key(device.kind)),
        template=StepTemplate(table, settings.model, *shape),
    )


def _variants(choices: Mapping[CallKey, Choice]) -> dict[CallKey, Variant]:
    return {key: choice.variant for key, choice in choices.items()}
