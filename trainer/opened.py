"""Open a run: find the device, the variants, the records and the calls that its settings name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.devices import Gpu, device
from registry.machine import machine_key
from registry.records import Store
from registry.table import discover
from trainer.program.template import StepTemplate
from trainer.ranks.interface import SINGLE_PROCESS
from trainer.selection.kernel_request import parse_kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry.devices import DeviceMemory
    from registry.table import Table
    from trainer.ranks.interface import Ranks
    from trainer.selection.kernel_request import KernelRequest
    from trainer.settings import Settings

__all__ = ["Opened", "open_run"]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An opened run: its kernels are not chosen and its memory is not allocated yet.

    Attributes
    ----------
    say : callable
        Prints a line of progress, before the training starts and after it ends.
    ranks : Ranks
        The other processes of the run. Rank 0 proves, races, chooses, saves and samples; the settings of the other ranks name
        the kernels that rank 0 chose.
    request : KernelRequest
        The parsed value of ``--kernels``.
    store : Store
        The records of this machine, or of this GPU.
    template : StepTemplate
        The calls of a training step.
    """

    settings: Settings
    say: Callable[[str], None]
    ranks: Ranks
    device: DeviceMemory
    request: KernelRequest
    table: Table
    store: Store
    template: StepTemplate

    @property
    def leads(self) -> bool:
        """Whether this process is rank 0, which decides and prints for all ranks."""
        return self.ranks.rank == 0


def open_run(settings: Settings, say: Callable[[str], None], ranks: Ranks = SINGLE_PROCESS) -> Opened:
    """Find the device, the variants, the records and the calls that the settings name.

    Raises
    ------
    RequestError
        The device is not available, ``--kernels`` cannot be read, or the file of a variant that it names cannot be loaded.
    """
    place = device(settings.device)
    ranks.check(place.kind)
    if isinstance(place, Gpu):
        place.take(ranks.local_rank, ranks.local_count, graphs=settings.cuda_graph, say=say)
    request = parse_kernels(settings.kernels)
    table = discover(*settings.kernels_path)
    for failed in table.unloadable:
        say(f"not loadable: {failed}")
    for key, name in request.overrides.items():
        table.requested(key.partition("/")[0], name)
    shape = settings.B, settings.T, settings.micro_steps, settings.ranks, settings.dtype
    return Opened(
        settings=settings,
        say=say,
        ranks=ranks,
        device=place,
        request=request,
        table=table,
        store=Store(settings.results, machine_key(place.kind)),
        template=StepTemplate(table, settings.model, *shape),
    )
