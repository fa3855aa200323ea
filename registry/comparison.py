"""`Comparison`: the record of one variant compared with the reference at the shape of a training run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.fingerprint import contract_hash, source_hash
from registry.machine import machine_key, versions
from registry.record_kinds import Record, now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.variant import Variant

__all__ = ["NOT_COMPARED", "PASSED", "Comparison", "call_key"]

PASSED, NOT_COMPARED = "passed", "not_compared"


def call_key(op: str, variant: str, dims: Mapping[str, int], params: Mapping[str, Any], dtype: str, threads: int) -> str:
    """Return the text that identifies one call of one variant."""
    return json.dumps([op, variant, dict(dims), dict(params), dtype, threads], sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Comparison(Record):
    """The outcome of one call of a variant, compared with the reference.

    Attributes
    ----------
    source, contract : str
        Hashes of the variant's sources and of the op's contract. The record is fresh while neither changes.
    dims, params : dict
        The sizes and the parameters of the call.
    threads : int
        CPU threads of the variant.
    status : str
        ``passed``; ``not_compared`` if the reference would need more memory than the machine has; for a wrong variant
        ``failed``, ``crashed``, ``hung`` or the kind of the simulator's finding.
    gate, message : str
        The gate that rejected the variant, and the worst element. Both are empty if the variant passed.
    compared : str
        Number of output elements that were compared, as text.
    worst_over_tolerance : float
        An upper bound of the largest error divided by its tolerance. It is at most 1 if the variant passed.
    """

    op: str
    variant: str
    source: str
    contract: str
    dims: dict[str, int]
    params: dict[str, Any]
    status: str
    gate: str = ""
    message: str = ""
    dtype: str = "float32"
    device: str = "host"
    threads: int = 1
    compared: str = ""
    worst_over_tolerance: float = 0.0
    seconds: float = 0.0
    reproduce: str = ""
    machine: str = field(default_factory=machine_key)
    versions: dict[str, str] = field(default_factory=versions)
    created: str = field(default_factory=now)

    @property
    def key(self) -> str:
        """The text that identifies the call."""
        return call_key(self.op, self.variant, self.dims, self.params, self.dtype, self.threads)

    @property
    def is_failed(self) -> bool:
        """Whether the comparison found the variant wrong."""
        return self.status not in {PASSED, NOT_COMPARED}

    @property
    def shape(self) -> str:
        """The dims in a readable form: ``N=256 C=768``."""
        return " ".join(f"{name}={size}" for name, size in self.dims.items())

    def is_fresh(self, variant: Variant) -> bool:
        """Whether the record is about the present sources of `variant`, on this machine with these libraries."""
        return (
            (self.op, self.variant) == (variant.op.name, variant.name)
            and self.source == source_hash(variant)
            and self.contract == contract_hash(variant.op)
            and self.machine == machine_key(self.device)
            and self.versions == versions(self.device)
        )
