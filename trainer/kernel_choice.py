"""Choose the kernels of a run; prove and race first what no record tells about."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.commands import Folders, pasted
from trainer.kernel_set import Chooser
from trainer.missing_records import commands, make_champions, proofs_on
from trainer.shape_checks import found_wrong, report_replaced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.variant import Variant
    from trainer.kernel_request import Need
    from trainer.kernel_set import Choice
    from trainer.opened import Opened

__all__ = ["Kernels", "choose_kernels", "choose_without_racing", "prove_on_gpu", "race_missing", "right_at_shapes"]

GRAPH, LAUNCHES = "cuda-graph", "cuda-cold"  # the race that times kernels as a CUDA graph replays them, or launched one by one


@dataclass(frozen=True)
class Kernels:
    """The kernels of a run.

    Attributes
    ----------
    choices : mapping
        By op and label, the variant and the reason for it.
    alternative : mapping
        Another set that may be faster as a whole, which real steps decide; empty if there is none.
    """

    choices: Mapping[Need, Choice]
    alternative: Mapping[Need, Choice] = dataclasses.field(default_factory=dict)

    @property
    def variants(self) -> dict[Need, Variant]:
        """The chosen variants."""
        return _variants(self.choices)

    @property
    def sets(self) -> list[dict[Need, Variant]]:
        """The chosen variants, and those of the alternative where there is one: each variant that the run may call."""
        return [_variants(choices) for choices in (self.choices, self.alternative) if choices]

    def names(self) -> dict[str, str]:
        """Return the chosen names, by op, or by op and label where an op's calls differ: what ``--kernels`` takes."""
        per_op: dict[str, set[str]] = {}
        for (op, _), variant in self.variants.items():
            per_op.setdefault(op, set()).add(variant.name)
        return {op if len(per_op[op]) == 1 else f"{op}/{label}": variant.name for (op, label), variant in self.variants.items()}


def choose_kernels(run: Opened) -> Kernels:
    """Return the kernels that the records of this machine and the request name.

    Raises
    ------
    RequestError
        The request names what is unknown, not proven, or not for this device or dtype.
    """
    chooser = _chooser(run)
    choices = chooser.choose(run.request)
    return Kernels(choices, chooser.one_pool(run.request, choices) or {})


def choose_without_racing(run: Opened) -> Kernels:
    """Return the kernels for a plan: the plain definition stands in for each champion that a race would have to find."""
    missing = _missing(run)
    if missing:
        run.say(f"no champion yet, planned with the plain definition: {', '.join(missing)}")
    overrides = {**dict.fromkeys(missing, "numpy"), **run.request.overrides}
    return Kernels(_chooser(run).choose(dataclasses.replace(run.request, overrides=overrides)))


def prove_on_gpu(run: Opened) -> None:
    """Prove the CUDA variants of each op of which none is proven on this device, real or simulated."""
    if lacking := _chooser(run).unproven_on_gpu():
        place, settings = run.device.name, run.settings
        run.say(f"nothing proven on device {place!r} for {', '.join(lacking)}: proving CUDA variants first (once)")
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
        every_op=set(missing) == {op for op, _ in chooser.needs},
        step=chooser.step,
        threads=settings.threads,
        results=settings.results,
        kernels_path=settings.kernels_path,
    )
    make_champions(wanted, run.say)
    return True


def right_at_shapes(run: Opened, kernels: Kernels) -> Kernels:
    """Compare each chosen variant once with the reference at its own shapes; return kernels of which none was found wrong.

    Raises
    ------
    EvidenceError
        A variant that was asked for by name is wrong at the shapes of this run.
    """
    while wrong := found_wrong(run.outline, run.store, run.settings, run.device.name, kernels.sets, run.say):
        kernels = choose_kernels(run)
        report_replaced(wrong, run.say)
    return kernels


def _missing(run: Opened) -> list[str]:
    """Return the ops without a champion that a race here may find; on a GPU, say that there is none and how to make it."""
    missing = _chooser(run).without_champion(run.request)
    if missing and run.device.name == "cuda":
        dtype = () if run.settings.dtype == "float32" else ("--dtype", run.settings.dtype)
        folders = Folders(run.settings.kernels_path, run.settings.results)
        every = f"; race them with: {pasted('harness.bench', '--device', 'cuda', *dtype, folders=folders)}"
        run.say(f"not raced on this GPU, so the highest proven rung is taken: {', '.join(missing)}{every}")
        return []
    return missing


def _chooser(run: Opened) -> Chooser:
    """Return a chooser that reads the records as they are now."""
    protocol = GRAPH if run.settings.cuda_graph else LAUNCHES
    return Chooser(run.table, run.store, run.outline, run.settings.threads, run.device.name, protocol)


def _variants(choices: Mapping[Need, Choice]) -> dict[Need, Variant]:
    return {need: choice.variant for need, choice in choices.items()}
