"""The cell of a page about a proof: its numbers if it passed, else the reason why there is none."""

import pytest

from harness.report.proof_text import passed_proof, proof_text
from registry import discover
from registry.fingerprint import contract_hash, source_hash
from registry.records import Evidence

VARIANT = discover().variant("gelu", "numba_tanh")


def newest(**changes):
    """Return the newest proofs of a device, with one of VARIANT."""
    facts = {"op": "gelu", "variant": "numba_tanh", "source": source_hash(VARIANT), "contract": contract_hash(VARIANT.op)}
    facts |= {"status": "passed", "problems": 40, "worst_over_tolerance": 0.254}
    return {("gelu", "numba_tanh"): Evidence(**{**facts, **changes})}


@pytest.mark.parametrize(
    ("proofs", "text"),
    [
        ({}, "not proven"),
        (newest(), "40 problems, 0.25 of tolerance"),
        (newest(source="another"), "stale"),
        (newest(status="failed", gate="values"), "failed"),
        (newest(status="failed", gate="values", source="another"), "stale"),
        (newest(status="partial", problems=3), "partial"),
    ],
)
def test_a_proof_is_shown_by_its_numbers_or_by_the_reason_why_there_is_none(proofs, text):
    assert proof_text(VARIANT, proofs) == text
    assert (passed_proof(VARIANT, proofs) is not None) == text.endswith("of tolerance")
