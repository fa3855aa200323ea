"""The number of problems of a proof: enough of them, inside the domain that a variant accepts."""

import dataclasses
import json

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import verify
from harness.proof.battery import prove
from harness.proof.cases.selection import fixed_cases, random_cases, refusals
from harness.proof.cases.strategies import basics, inside, is_small, problems
from harness.proof.plan import Plan
from registry.errors import EvidenceError
from registry.profiles import PROFILES
from registry.records import Evidence, Store
from registry.table import discover
from trainer.selection.missing_records import QUICK_EXAMPLES

TABLE = discover()
FILE = '''"""Softmax of some problems.

Idea: a test.
Source: a test.
"""
import numpy as np
from kernels.softmax.spec import SOFTMAX
from registry import register

@register(SOFTMAX, refuses=lambda **given: [] if {accepts} else ["not this one"])
def numpy_some(x, y):
    e = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
    y[:] = e / e.sum(axis=1, keepdims=True)
'''
# Per name, an op and the condition on its dims under which a variant accepts a problem.
DOMAINS = {
    "one length": ("layer_norm", lambda d: d["C"] == 768),
    "a length that is no usual one": ("layer_norm", lambda d: d["C"] == 771),
    "whole blocks": ("softmax", lambda d: d["C"] % 128 == 0 and d["C"] > 0),
    "one head size": ("attention", lambda d: d["D"] == 64),
    "whole tiles of one head size": ("attention", lambda d: d["D"] == 64 and d["T"] % 64 == 0),
    "two lengths": ("matmul", lambda d: d["C"] == 384 and d["O"] % 64 == 0),
    "long rows": ("global_norm", lambda d: d["K"] > 4000),
    "GPT-2's vocabulary": ("cross_entropy", lambda d: (d["V"], d["P"]) == (50257, 47)),
}


def restricted(op, accepts, **fields):
    """Return the numpy variant of an op, which refuses all other problems."""
    refuses = lambda **dims: [] if accepts(dims) else ["outside"]  # noqa: E731 (one expression)
    return dataclasses.replace(TABLE.variant(op, "numpy"), dtypes=("float32",), refuses=refuses, **fields)


def partly(folder, accepts):
    """Write a softmax that accepts some problems, and return it."""
    (folder / "numpy_some.py").write_text(FILE.format(accepts=accepts))
    return discover(folder).variant("softmax", "numpy_some")


@pytest.mark.parametrize("simulated", [False, True])
@pytest.mark.parametrize("domain", DOMAINS)
def test_problems_are_asked_where_a_variant_accepts_them(domain, simulated):
    op, accepts = DOMAINS[domain]
    if simulated and domain == "GPT-2's vocabulary":
        pytest.skip("more elements than are simulated")
    variant, seen = restricted(op, accepts), set()
    asked = [a.problem for a in fixed_cases(variant, simulated=simulated) if not refusals(variant, a.problem)]
    assert len({str(p) for p in asked}) == len(asked)
    assert len({p.distribution for p in asked}) > 5
    assert any(p.special_values for p in asked)

    @given(problems(variant.op, variant, simulated=simulated))
    @hypothesis.settings(suppress_health_check=list(hypothesis.HealthCheck), max_examples=40)
    def each(problem):
        seen.add(tuple(problem.dims.values()))
        assert not refusals(variant, problem)
        assert is_small(variant.op, problem, simulated=simulated)

    each()
    assert len(seen) > 1


@given(data=st.data())
def test_a_problem_that_is_accepted_stays_as_it_is(data):
    variant = restricted("layer_norm", lambda d: d["C"] % 4 == 0)
    problem = data.draw(problems(variant.op, TABLE.variant("layer_norm", "numba_rows")))
    accepted = inside(variant, problem, simulated=False)
    assert accepted == (problem if problem.dims["C"] % 4 == 0 else accepted)
    assert accepted.dims["C"] % 4 == 0
    assert (accepted.distribution, accepted.seed, accepted.special_values) == (
        problem.distribution,
        problem.seed,
        problem.special_values,
    )


def test_a_parameter_that_a_variant_refuses_is_changed():
    variant = dataclasses.replace(
        TABLE.variant("layer_norm_backward", "numpy"), refuses=lambda **given: ["adds"] if given["accumulate"] else []
    )
    every = [a.problem for a in fixed_cases(variant, simulated=False)]
    asked = [p for p in every if not refusals(variant, p)]
    assert len(asked) > 15
    assert len({str(dataclasses.replace(p, params={})) for p in every}) == len(
        asked
    )  # each one is accepted, or replaced by another one


def test_a_variant_that_refuses_every_problem_is_never_called_and_its_reason_is_kept(worker, reference_cache):
    variant = dataclasses.replace(TABLE.variant("softmax", "numpy"), refuses=lambda **_: ["needs a GPU"])
    proof = prove(variant, worker, Plan(), reference_cache)
    assert (proof.status, proof.problems) == ("refused", 0)
    assert "needs a GPU" in proof.message


def test_a_refusal_that_raises_at_other_dims_is_no_obstacle():
    known = {64: "a", 128: "b"}
    variant = restricted("softmax", lambda d: known[d["C"]] in "ab" if d["C"] > 300 or d["C"] in known else False)
    asked = [a.problem for a in fixed_cases(variant, simulated=False) if not refusals(variant, a.problem)]
    assert {p.dims["C"] for p in asked} == {64, 128}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_quick_proof_of_the_trainer_is_whole_and_a_single_problem_is_not(profile):
    limits = PROFILES[profile]
    assert limits.fewest_drawn > 1
    assert limits.fewest_drawn < limits.fewest_problems < limits.examples
    assert PROFILES["dev"].fewest_drawn <= QUICK_EXAMPLES


@pytest.mark.parametrize("op", ["gelu", "softmax", "global_norm"])  # their proofs have the fewest problems
def test_quick_proofs_of_the_ops_with_the_fewest_problems_are_whole(op, worker, reference_cache):
    proof = prove(TABLE.variant(op, "numpy"), worker, Plan(examples=QUICK_EXAMPLES), reference_cache)
    assert proof.passed, str(proof)


def test_fixed_problems_alone_prove_nothing_however_many_they_are(worker, reference_cache):
    proof = prove(TABLE.variant("layer_norm_backward", "numpy"), worker, Plan(examples=1), reference_cache)
    assert proof.problems > PROFILES["dev"].fewest_problems
    assert (proof.status, proof.gate) == ("partial", "")
    assert proof.message == "the number of random problems is 1; a proof needs 6 (profile dev)"


def test_one_drawn_problem_is_a_partial_proof_that_no_command_accepts(tmp_path, capsys):
    variant = partly(tmp_path, "True")
    words = ["--op", "softmax", "--variant", "numpy_some", "--kernels-path", str(tmp_path), "--results", str(tmp_path / "kept")]
    assert verify.main([*words, "--examples", "1", "--json"]) == 1
    [result] = json.loads(capsys.readouterr().out)["results"]
    assert (result["status"], result["gate"]) == ("partial", "")
    assert " problems; a proof needs 18 (profile dev)" in result["message"]
    store = Store(tmp_path / "kept")
    assert [e.status for e in store.evidence()] == ["partial"]
    command = r"make a whole one with: python -m harness\.verify --op softmax --variant numpy_some"
    with pytest.raises(EvidenceError, match=command):
        store.require_proof(variant)
    assert verify.main([*words, "--examples", "6"]) == 0
    assert store.require_proof(variant).status == "passed"
    assert verify.main([*words, "--examples", "1"]) == 1
    assert store.require_proof(variant).status == "passed"  # a partial proof does not revoke a whole one


def test_a_variant_that_accepts_hardly_anything_is_partial_with_its_reason(worker, reference_cache):
    only = next(basics(TABLE.op("attention"))).dims  # dims of a fixed case, which the search for accepted dims does not try
    proof = prove(restricted("attention", lambda d: {n: d[n] for n in only} == only), worker, Plan(), reference_cache)
    assert proof.status == "partial", str(proof)
    assert f"the variant passed {proof.problems} problems; a proof needs 18 (profile dev)" in proof.message
    assert "the first because: outside" in proof.message


@given(problems=st.integers(1, 1200), profile=st.sampled_from([*PROFILES, "of a later version"]))
def test_an_old_record_counts_by_its_problems(problems, profile):
    record = Evidence(
        op="softmax", variant="numpy", source="", contract="", status="partial", problems=problems, profile=profile
    )
    old = {k: v for k, v in record.to_json().items() if k not in {"rechecked", "schema"}} | {"status": "passed"}
    least = PROFILES.get(profile, PROFILES["dev"]).fewest_problems
    assert Evidence.from_json(old).status == ("passed" if problems >= least else "partial")


def test_a_failure_stands_until_its_problem_passes(tmp_path, capsys):
    few = Plan(examples=6, seed=9)
    honest = partly(tmp_path, "True")
    elsewhere = {str(a.problem.dims) for a in (*fixed_cases(honest, simulated=False), *cases_of(honest, few))}
    dims = next(d for d in (a.problem.dims for a in cases_of(honest, Plan())) if all(d.values()) and str(d) not in elsewhere)
    flag = tmp_path / "wrong"
    flag.touch()
    condition = f"x.shape == {tuple(dims.values())} and exists({str(flag)!r})"
    text = FILE.format(accepts="True").replace("y[:] =", f"e = e + 1 if {condition} else e; y[:] =")
    folder = tmp_path / "wrong_once"
    folder.mkdir()
    (folder / "numpy_some.py").write_text(text.replace("import numpy", "from os.path import exists\nimport numpy"))
    variant = discover(folder).variant("softmax", "numpy_some")
    words = ["--op", "softmax", "--variant", "numpy_some", "--kernels-path", str(folder), "--results", str(tmp_path / "kept")]
    store = Store(tmp_path / "kept")
    assert verify.main(words) == 1
    [failed] = store.evidence()
    line = failed.failed_problem(variant.op)
    assert line.startswith(" ".join(f"{n}={length}" for n, length in dims.items()))
    assert verify.main([*words, "--examples", "6", "--seed", "9"]) == 1  # this seed draws no problem of these dims
    assert store.evidence()[-1].failed_problem(variant.op) == line
    flag.unlink()  # the variant is right now, with the same source hash
    assert verify.main([*words, "--examples", "1"]) == 1
    with pytest.raises(EvidenceError, match="failed at gate 'values'"):
        store.require_proof(variant)
    assert verify.main([*words, "--examples", "6", "--seed", "9"]) == 0
    assert store.evidence()[-1].rechecked == [line]
    assert store.require_proof(variant).status == "passed"
    capsys.readouterr()


def cases_of(variant, plan):
    """Return the random cases."""
    return random_cases(variant, plan, lambda: None, simulated=False)
