"""The device, variants, records and calls of a training step that the settings of a run name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.devices import Gpu, device
from registry.machine import machine_key
from registry.records import Store
from registry.table import discover
from trainer.kernel_request import parse_kernels
from trainer.program import Outline
from trainer.ranks import ALONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry.devices import Device
    from registry.table import Table
    from trainer.kernel_request import KernelRequest
    from trainer.ranks import Ranks
    from trainer.settings import Settings

__all__ = ["Opened", "open_run"]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A run of which nothing is chosen yet and for which no memory is taken.

    Attributes
    ----------
    say : callable
        Told, line by line, what happens before the training starts and after it ends.
    ranks : Ranks
        Rank 0 proves, races, chooses, saves and samples; the settings of the others name the kernels that it chose.
    request : KernelRequest
        ``--kernels``, read but not looked up yet.
    store : Store
        The records of this machine, or of this GPU.
    outline : Outline
        The calls of a training step.
    """

    settings: Settings
    say: Callable[[str], None]
    ranks: Ranks
    device: Device
    request: KernelRequest
    table: Table
    store: Store
    outline: Outline

    @property
    def leads(self) -> bool:
        """Whether this process decides and speaks for all."""
        return self.ranks.rank == 0


def open_run(settings: Settings, say: Callable[[str], None], ranks: Ranks = ALONE) -> Opened:
    """Find what the settings name.

    Raises
    ------
    RequestError
        The device is not available, ``--kernels`` cannot be read, or the file of a variant that it names cannot be loaded.
    """
    place = device(settings.device)
    ranks.check(place.name)
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
        store=Store(settings.results, machine_key(place.name)),
        outline=Outline(table, settings.model, *shape),
    )
