"""The proof of a variant as a cell of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.enums import Status
from registry.fingerprint import source_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.records import Evidence
    from registry.variant import Variant

    Newest = Mapping[tuple[str, str], Evidence]

__all__ = ["passed_proof", "proof_text"]


def passed_proof(variant: Variant, newest: Newest) -> Evidence | None:
    """Return the proof of the present source of a variant, if it passed; else None.

    Parameters
    ----------
    newest : mapping of (op, variant) to Evidence
        The evidence that counts on one device, as `Store.newest_proofs` returns it.
    """
    proof = newest.get((variant.op.name, variant.name))
    fresh = proof is not None and proof.source == source_hash(variant)
    return proof if fresh and proof is not None and proof.status == Status.PASSED else None


def proof_text(variant: Variant, newest: Newest) -> str:
    """Return the number of problems and the largest error of a proof that passed, or the reason why there is none."""
    if (passed := passed_proof(variant, newest)) is not None:
        return f"{passed.problems} problems, {passed.worst_over_tolerance:.2f} of tolerance"
    proof = newest.get((variant.op.name, variant.name))
    if proof is None:
        return "not proven"
    return proof.status if proof.source == source_hash(variant) else "stale"
