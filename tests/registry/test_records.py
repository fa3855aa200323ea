"""Records survive the disk; evidence goes stale with its sources; broken files are named."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import CrucibleError, EvidenceError, discover
from registry.fingerprint import contract_hash, source_hash
from registry.records import Champion, Evidence, Row, Run, Store

VARIANT = discover().variant("layer_norm", "numba_rows")


def evidence(**changes):
    """Return passing evidence about VARIANT, with changes."""
    about = {"op": "layer_norm", "variant": "numba_rows", "source": source_hash(VARIANT), "contract": contract_hash(VARIANT.op)}
    return Evidence(**{**about, "status": "passed", "problems": 40, **changes})


def test_the_trainer_is_told_how_to_make_missing_evidence(tmp_path):
    with pytest.raises(EvidenceError, match=r"python -m harness\.verify --op layer_norm --variant numba_rows"):
        Store(tmp_path).require_proof(VARIANT)


@pytest.mark.parametrize(
    "change", [{"source": "0"}, {"contract": "0"}, {"machine": "another"}, {"versions": {}}, {"variant": "numba_other"}]
)
def test_evidence_is_stale_when_anything_it_rests_on_changed(tmp_path, change):
    store = Store(tmp_path)
    store.add_evidence(evidence(**change))
    assert store.proof(VARIANT) is None
    store.add_evidence(evidence())
    assert store.require_proof(VARIANT).status == "passed"


def test_the_newest_evidence_counts(tmp_path):
    store = Store(tmp_path)
    store.add_evidence(evidence(), evidence(status="failed", gate="values"))
    with pytest.raises(EvidenceError, match="failed at gate 'values'"):
        store.require_proof(VARIANT)


@given(st.lists(st.floats(0, 1e6, allow_nan=False), max_size=5), st.integers(1, 64))
def test_runs_and_champions_survive_the_disk(tmp_path_factory, samples, threads):
    store = Store(tmp_path_factory.mktemp("results"))
    row = Row(variant="numba_rows", source="1", status="passed", samples_ms=samples)
    run = Run(
        op="layer_norm", workload="w", dims={"N": 1}, params={}, protocol="cpu-warm", threads=threads,
        rows=[row], controls={"aa": 1.0}, roofline={"gflops": 1.0},
    )  # fmt: skip
    store.add_run(run)
    assert store.runs() == [run]
    champion = Champion(
        op="layer_norm", workload="w", dims={"N": 1}, variant="numba_rows", source="1", threads=threads, median_ms=1.0
    )
    store.write_champions([champion])
    assert store.champions() == [champion]


def test_a_time_without_a_pass_cannot_be_built():
    with pytest.raises(CrucibleError, match="status is 'failed'"):
        Row(variant="a", source="", status="failed", samples_ms=[1.0])


def test_an_unknown_field_of_a_later_version_is_ignored():
    assert Evidence.from_json({**dataclasses.asdict(evidence()), "later": 1}) is not None


def test_a_broken_line_is_named(tmp_path):
    store = Store(tmp_path)
    store.add_evidence(evidence())
    with (store.folder / "evidence.jsonl").open("a") as file:
        file.write("{broken\n")
    with pytest.raises(CrucibleError, match=r"evidence\.jsonl:2 is not a JSON line"):
        store.evidence()


def test_a_results_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CrucibleError, match="cannot write"):
        Store(tmp_path / "file").add_evidence(evidence())
