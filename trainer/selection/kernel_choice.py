"""Choose the kernels of a run. Variants without a record are proven and raced first."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.commands import Folders, pasted
from registry.enums import Device
from trainer.selection.kernel_set import Chooser
from trainer.selection.missing_records import commands, make_champions, proofs_on
from trainer.selection.shape_checks import complaint, found_wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.variant import Variant
    from trainer.opened import Opened
    from trainer.program.template import CallKey
    from trainer.selection.kernel_set import Choice

__all__ = ["Kernels", "choose_kernels", "choose_without_racing", "prove_on_gpu", "race_missing", "right_at_shapes"]

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


def choose_kernels(run: Opened) -> Kernels:
    """Return the kernels that the request names, and for other calls the kernels from the records of this machine.

    Raises
    ------
    RequestError
        A named kernel is unknown or not proven, or does not run on this device or in this dtype.
    """
    chooser = _chooser(run)
    choices = chooser.choose(run.request)
    return Kernels(choices, chooser.without_blas(run.request, choices) or {})


def choose_without_racing(run: Opened) -> Kernels:
    """Return the kernels for a plan, with the numpy reference for each op whose champion is still missing."""
    missing = _missing(run)
    if missing:
        run.say(f"no champion yet, planned with the numpy reference: {', '.join(missing)}")
    overrides = {**dict.fromkeys(missing, "numpy"), **run.request.overrides}
    return Kernels(_chooser(run).choose(dataclasses.replace(run.request, overrides=overrides)))


def prove_on_gpu(run: Opened) -> None:
    """Prove the CUDA variants of each op without a proven variant on this device, a GPU or the simulator."""
    if lacking := _chooser(run).unproven_on_gpu():
        place, settings = run.device.kind, run.settings
        run.say(f"nothing proven on device {place} for {', '.join(lacking)}: proving CUDA variants first (once)")
        make_champions(proofs_on(place, lacking, results=settings.results, kernels_path=settings.kernels_path), run.say)


def race_missing(run: Opened) -> bool:
    """Prove and race the variants of each op that has no champion; return whether there was such an op."""
    if not (missing := _missing(run)):
        return False
    run.say(f"no champion on this machine for {', '.join(missing)}: proving and racing their variants first (once)")
    chooser, settings = _chooser(run), run.settings
    wanted = commands(
        missing,
        chooser.unproven(missing),
        every_op=set(missing) == {op for op, _ in chooser.calls},
        step=chooser.step,
        threads=settings.threads,
        results=settings.results,
        kernels_path=settings.kernels_path,
    )
    make_champions(wanted, run.say)
    return True


def right_at_shapes(run: Opened, kernels: Kernels) -> Kernels:
    """Compare each chosen variant once with the reference at the shapes of this run; return kernels that passed.

    Raises
    ------
    EvidenceError
        A variant that ``--kernels`` names is wrong at the shapes of this run.
    """
    named = {(target.partition("/")[0], variant) for target, variant in run.request.overrides.items()}
    while wrong := found_wrong(run.template, run.store, run.settings, run.device.kind, kernels.sets, run.say):
        # For a variant that the user named, `choose_kernels` raises an error with the same complaint.
        for one in wrong:
            if (one.op, one.variant) not in named:
                run.say(f"{complaint(one)}; this run takes another variant")
        kernels = choose_kernels(run)
    return kernels


def _missing(run: Opened) -> list[str]:
    """Return the ops whose champion a race can still find. On a GPU, print them with the race command and return none."""
    missing = _chooser(run).without_champion(run.request)
    if missing and run.device.kind == Device.CUDA:
        dtype = () if run.settings.dtype == "float32" else ("--dtype", run.settings.dtype)
        folders = Folders(run.settings.kernels_path, run.settings.results)
        every = f"; race them with: {pasted('harness.bench', '--device', Device.CUDA, *dtype, folders=folders)}"
        run.say(f"not raced on this GPU, so the highest proven rung is taken: {', '.join(missing)}{every}")
        return []
    return missing


def _chooser(run: Opened) -> Chooser:
    """Return a chooser that reads the current records."""
    protocol = GRAPH if run.settings.cuda_graph else LAUNCHES
    return Chooser(run.table, run.store, run.template, run.settings.threads, run.device.kind, protocol)


def _variants(choices: Mapping[CallKey, Choice]) -> dict[CallKey, Variant]:
    return {key: choice.variant for key, choice in choices.items()}
