"""`Comparison`: the record of one variant compared with the reference at the shape of a training run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from registry.enums import Status
from registry.record_base import VariantRecord
from registry.record_kinds import ROWS_ONLY

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Comparison", "call_key"]


def call_key(op: str, variant: str, dims: Mapping[str, int], params: Mapping[str, Any], dtype: str, threads: int) -> str:
    """Return the text that identifies one call of one variant."""
    return json.dumps([op, variant, dict(dims), dict(params), dtype, threads], sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Comparison(VariantRecord):
    """The outcome of one call of a variant, compared with the reference.

    Attributes
    ----------
    dims, params : dict
        The sizes and the parameters of the call.
    threads : int
        CPU threads of the variant.
    status : Status
        ``passed``; ``not_compared`` if the reference would need more memory than the machine has; for a wrong variant
        ``failed``, ``crashed``, ``hung`` or the kind of the simulator's finding.
    gate, message : str
        The gate that rejected the variant, and the worst element. Both are empty if the variant passed.
    compared : str
        Number of output elements that were compared, as text.
    """

    STATUSES: ClassVar[frozenset[Status]] = (
        frozenset(Status) - ROWS_ONLY - {Status.PARTIAL, Status.WRONG, Status.SOURCE_CHANGED}
    )

    dims: dict[str, int]
    params: dict[str, Any]
    message: str = ""
    dtype: str = "float32"
    threads: int = 1
    compared: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("threads", "1 or more", holds=self.threads >= 1)
        if self.status == Status.PASSED:
            self.require("message", "'' where the status is 'passed'", holds=not self.message)

    @property
    def key(self) -> str:
        """The text that identifies the call."""
        return call_key(self.op, self.variant, self.dims, self.params, self.dtype, self.threads)

    @property
    def is_failed(self) -> bool:
        """Whether the comparison found the variant wrong."""
        return self.status not in {Status.PASSED, Status.NOT_COMPARED}

    @property
    def shape(self) -> str:
        """The dims in a readable form: ``N=256 C=768``."""
        return " ".join(f"{name}={size}" for name, size in self.dims.items())
