"""Records are read back from disk, evidence goes stale with its sources, and errors name a broken file."""

import dataclasses
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import CrucibleError, EvidenceError, discover, records, renamed
from registry.devices import kind_of
from registry.fingerprint import contract_hash, source_hash
from registry.paths import ROOT
from registry.records import Champion, Evidence, Row, Run, Store, standing

VARIANT = discover().variant("layer_norm", "numba_rows")


def evidence(**changes):
    """Return passing evidence about VARIANT, with changes."""
    about = {"op": "layer_norm", "variant": "numba_rows", "source": source_hash(VARIANT), "contract": contract_hash(VARIANT.op)}
    return Evidence(**{**about, "status": "passed", "problems": 40, **changes})


def test_the_error_of_missing_evidence_holds_the_command_that_makes_it(tmp_path):
    with pytest.raises(EvidenceError, match=r"python -m harness\.verify --op layer_norm --variant numba_rows"):
        Store(tmp_path).require_proof(VARIANT)


@pytest.mark.parametrize(
    "change", [{"source": "0"}, {"contract": "0"}, {"machine": "another"}, {"versions": {}}, {"variant": "numba_other"}]
)
def test_evidence_is_stale_after_a_change_of_its_sources_contract_machine_or_versions(tmp_path, change):
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


LINE = "N=3 C=5 eps=1e-05 dtype=float32 layout=aligned family=normal seed=0"
OTHER = "N=4 C=5 eps=1e-05 dtype=float32 layout=aligned family=normal seed=0"


def failure(line, gate="values"):
    """Return the record of a failure at a problem, as the battery or a race writes it."""
    return evidence(status="failed", gate=gate, problems=3, reproduce=f'python -m harness.verify --op x --problem "{line}"')


def test_a_failure_is_valid_until_a_whole_proof_repeats_the_problem(tmp_path):
    store = Store(tmp_path)
    store.add_evidence(evidence(), failure(LINE), evidence(), evidence(rechecked=[OTHER]))
    store.add_evidence(evidence(status="partial", problems=1, rechecked=[LINE]))
    with pytest.raises(EvidenceError, match="failed at gate 'values'"):
        store.require_proof(VARIANT)
    assert store.proven([VARIANT], "cpu") == []
    assert [f.failed_problem(VARIANT.op) for [f] in store.failures([VARIANT], "cpu")] == [LINE]
    store.add_evidence(evidence(rechecked=[LINE]))
    assert store.require_proof(VARIANT).rechecked == [LINE]
    assert store.proven([VARIANT], "cpu") == [VARIANT]


def test_a_failure_in_a_race_is_valid_after_any_later_proof(tmp_path):
    store = Store(tmp_path)
    store.add_evidence(evidence(), failure(LINE, "race"), evidence(rechecked=[LINE]))
    with pytest.raises(EvidenceError, match="its proof is revoked until its source changes"):
        store.require_proof(VARIANT)
    assert store.proven([VARIANT], "cpu") == []


def test_a_failure_without_a_problem_is_valid_until_the_source_changes(tmp_path):
    store = Store(tmp_path)
    store.add_evidence(evidence(status="failed", gate="race", reproduce="python -m harness.bench --op layer_norm"))
    store.add_evidence(evidence(rechecked=[LINE, ""]))
    with pytest.raises(EvidenceError, match="its proof is revoked until its source changes"):
        store.require_proof(VARIANT)
    [[found]] = store.failures([VARIANT], "cpu")
    assert found.failed_problem(VARIANT.op) == ""
    store = Store(tmp_path / "changed")
    store.add_evidence(evidence(status="failed", gate="race", source="0" * 16), evidence())
    assert store.require_proof(VARIANT).status == "passed"


@pytest.mark.parametrize("status", ["partial", "refused"])
def test_a_proof_with_too_few_problems_cancels_no_earlier_proof(tmp_path, status):
    store = Store(tmp_path)
    store.add_evidence(evidence(), evidence(status=status, problems=0))
    assert store.require_proof(VARIANT).status == "passed"


def test_a_failed_problem_is_read_from_a_line_with_any_quotes():
    for command in (f'verify --problem "{LINE}"', f"verify --problem '{LINE}' --kernels-path 'a b'"):
        assert evidence(status="failed", gate="values", reproduce=command).failed_problem(VARIANT.op) == LINE


HISTORY = st.lists(st.tuples(st.sampled_from(["passed", "failed", "partial"]), st.sampled_from([LINE, OTHER])), max_size=8)


@given(HISTORY)
def test_a_variant_is_trusted_if_it_passed_and_every_failed_problem_passed_later(history):
    records = [failure(line) if status == "failed" else evidence(status=status, rechecked=[line]) for status, line in history]
    counts, failures = standing(records, VARIANT.op)
    open_lines = {
        line
        for number, (status, line) in enumerate(history)
        if status == "failed" and ("passed", line) not in history[number + 1 :]
    }
    assert {f.failed_problem(VARIANT.op) for f in failures} == open_lines
    trusted = any(status == "passed" for status, _ in history) and not open_lines
    assert (counts is not None and counts.status == "passed") == trusted


@given(st.lists(st.floats(0, 1e6, allow_nan=False), max_size=5), st.integers(1, 64))
def test_races_and_champions_are_read_back_from_disk(tmp_path_factory, samples, threads):
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


def test_a_race_ranks_unchanged_variants_by_their_lower_quartile():
    rows = [
        Row(variant="steady", source="s", status="passed", samples_ms=[2.0] * 8),
        Row(variant="disturbed", source="d", status="passed", samples_ms=[1.0] * 3 + [9.0] * 5),  # by the median it is last
        Row(variant="changed", source="old", status="passed", samples_ms=[0.1]),
        Row(variant="untimed", source="u", status="failed"),
        Row(variant="torch", source="", status="passed", baseline=True, samples_ms=[0.5]),
    ]
    race = Run(op="gelu", workload="w", dims={}, params={}, protocol="cpu-warm", threads=2, rows=rows, controls={}, roofline={})
    sources = {"steady": "s", "disturbed": "d", "changed": "new", "untimed": "u", "torch": ""}
    assert [row.variant for row in race.ranked(sources)] == ["disturbed", "steady"]
    assert race.ranked({}) == []


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


@pytest.fixture
def usual(tmp_path, monkeypatch):
    """Make a folder the default results folder, so that it has a tracked and a local part."""
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    return tmp_path


def champion(variant="numba_rows", **changes):
    about = {"op": "layer_norm", "workload": "w", "dims": {"N": 1}, "variant": variant, "source": "1", "threads": 2}
    return Champion(**{**about, "median_ms": 1.0, **changes})


@pytest.mark.parametrize("text", [b"{", b"\xff", b'[{"op": "x"}]', b"[5]", b"5", b'{"a": 1}'])
@pytest.mark.parametrize("part", ["m", "local/m"])
def test_a_damaged_file_of_champions_is_one_line_with_the_way_out(usual, part, text):
    (usual / part).mkdir(parents=True)
    (usual / part / "champions.json").write_bytes(text)
    with pytest.raises(CrucibleError) as caught:
        Store(usual, "m").champions()
    message = str(caught.value)
    assert message.endswith("; delete it and run: python -m harness.leaderboard")
    assert message.startswith(str(usual / part / "champions.json"))
    assert "\n" not in message


def test_a_user_s_records_go_to_the_ignored_folder_and_are_read_with_the_tracked_records_by_date(usual):
    tracked, own = Store(usual, "m", keep=True), Store(usual, "m")
    tracked.add_evidence(evidence(seed=1, created="2026-01-01"), evidence(seed=3, created="2026-03-01"))
    own.add_evidence(evidence(seed=2, created="2026-02-01"), evidence(seed=4, created="2026-04-01"))
    assert (tracked.folder, own.folder) == (usual / "m", usual / "local" / "m")
    assert [e.seed for e in own.evidence()] == [1, 2, 3, 4]
    assert [e.seed for e in tracked.evidence()] == [1, 3]
    ignored = subprocess.run(
        ["git", "check-ignore", "results/local/m/runs.jsonl"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ignored.returncode == 0


def test_a_named_results_folder_has_one_part(usual):
    elsewhere = usual / "mine"
    Store(elsewhere, "m").add_evidence(evidence())
    assert (elsewhere / "m" / "evidence.jsonl").exists()
    assert Store(usual / ".." / usual.name, "m").folder.parent.name == "local"  # the default folder by another path


def test_a_user_s_champions_count_until_the_tracked_records_change(usual):
    tracked, own = Store(usual, "m", keep=True), Store(usual, "m")
    tracked.add_evidence(evidence())
    tracked.write_champions([champion("numba_naive")])
    assert own.champions() == [champion("numba_naive")]
    mine = [champion("numba_rows"), champion("numba_rows", workload="mine")]
    own.write_champions(mine)
    assert own.champions() == mine
    assert tracked.champions() == [champion("numba_naive")]
    own.add_evidence(evidence())
    assert own.champions() == mine
    tracked.add_evidence(evidence())
    assert own.champions() == [
        champion("numba_naive"),
        mine[1],
    ]  # own champions count only for other calls
    own.write_champions(mine)
    assert Store(usual, "m").champions() == mine


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    store, reads = Store(tmp_path), []
    read = records.read_lines
    monkeypatch.setattr(records, "read_lines", lambda path: reads.append(path) or read(path))
    store.add_evidence(evidence())
    for _ in range(3):
        assert store.proof(VARIANT) is not None
        assert len(store.evidence()) == 1
    assert len(reads) == 1
    Store(tmp_path).add_evidence(evidence(status="failed", gate="values"))  # stands in for another process
    assert store.proof(VARIANT).status == "failed"
    assert len(reads) == 2


def test_champions_and_races_are_read_once_until_their_file_changes(usual, monkeypatch):
    store, reads = Store(usual, "m"), []
    for name in ("read_lines", "read_document"):
        read = getattr(records, name)
        monkeypatch.setattr(records, name, lambda path, read=read: reads.append(path.name) or read(path))
    conditions = {"protocol": "cpu-warm", "threads": 2, "controls": {}, "roofline": {}}
    race = Run(op="layer_norm", workload="w", dims={"N": 1}, params={}, rows=[], **conditions)
    store.add_run(race, dataclasses.replace(race, op="gelu"))
    store.write_champions([champion()])
    for _ in range(3):
        assert store.champions() == [champion()]
        assert store.runs_of("layer_norm") == [race]
        assert store.runs_of("softmax") == []
    assert sorted(reads) == ["champions.json", "champions.json", "runs.jsonl", "runs.jsonl"]  # one of each folder
    Store(usual, "m").write_champions([])  # stands in for another process
    Store(usual, "m").add_run(race)
    assert store.champions() == []
    assert store.runs_of("layer_norm") == [race, race]


def test_a_caller_that_changes_a_list_of_records_leaves_the_store_as_it_is(tmp_path):
    store = Store(tmp_path)
    store.add_evidence(evidence())
    store.write_champions([champion()])
    for read in (store.evidence, store.champions):
        read().clear()
        assert len(read()) == 1


def test_a_race_that_refutes_a_variant_revokes_its_proof_until_the_source_changes(tmp_path):
    store = Store(tmp_path)
    refuted = evidence(status="wrong", gate="race", note="y is wrong", reproduce="python -m harness.verify --problem 'N=1'")
    store.add_evidence(evidence(), refuted, evidence(), evidence(versions={}))
    assert store.proof(VARIANT) == refuted
    assert store.newest_proofs("cpu")["layer_norm", "numba_rows"] == refuted
    with pytest.raises(EvidenceError, match=r"wrong: y is wrong.*revoked until its source changes.*--problem 'N=1'"):
        store.require_proof(VARIANT)


def test_a_race_that_refuted_another_source_revokes_nothing(tmp_path):
    store = Store(tmp_path)
    store.add_evidence(evidence(status="wrong", gate="race", source="0"), evidence())
    assert store.require_proof(VARIANT).status == "passed"
    assert store.newest_proofs("cpu")["layer_norm", "numba_rows"].status == "passed"


def test_the_message_about_missing_evidence_can_be_pasted_where_the_results_folder_was_named(tmp_path):
    with pytest.raises(EvidenceError, match=f"--results '{tmp_path}/my results'"):
        Store(tmp_path / "my results").require_proof(VARIANT)


@pytest.mark.parametrize("line", ['{"op": "gelu"}', "[]", '{"rows": 3}'])
def test_a_line_that_is_no_record_is_named(line, tmp_path):
    store = Store(tmp_path)
    store.folder.mkdir()
    (store.folder / "runs.jsonl").write_text(line + "\n")
    with pytest.raises(CrucibleError, match=r"runs\.jsonl:1 is no record of run"):
        store.runs()


def test_champions_that_are_not_json_are_one_clear_error(tmp_path):
    store = Store(tmp_path)
    store.write_champions([])
    (store.folder / "champions.json").write_text("[")
    with pytest.raises(CrucibleError, match=r"delete it and run: python -m harness\.leaderboard"):
        store.champions()


def test_compacting_keeps_the_evidence_that_counts(tmp_path):
    store = Store(tmp_path)
    older = evidence(source="0" * 16, created="2026-01-01")
    refuted = evidence(status="wrong", gate="race", source="1" * 16, created="2026-01-02")
    simulated = evidence(device="sim", status="failed", gate="values", created="2026-01-03")
    store.add_evidence(
        older, refuted, simulated, evidence(seed=1), failure(LINE), evidence(seed=2), evidence(status="partial", problems=1)
    )
    before = store.proof(VARIANT), store.failures([VARIANT], "cpu"), store.proof(VARIANT, "sim")
    assert store.compact_evidence() == (7, 3)
    again = Store(tmp_path)
    assert (again.proof(VARIANT), again.failures([VARIANT], "cpu"), again.proof(VARIANT, "sim")) == before
    assert again.compact_evidence() == (3, 3)
    again.add_evidence(evidence(seed=3, rechecked=[LINE]))
    assert again.compact_evidence() == (4, 3)  # the failure no longer stands
    assert Store(tmp_path).require_proof(VARIANT).seed == 3


def test_records_that_are_no_text_or_no_file_are_one_clear_line(tmp_path):
    store = Store(tmp_path)
    store.add_evidence(evidence())
    path = store.folder / "evidence.jsonl"
    path.write_bytes(b"\n  \n" + path.read_bytes())
    assert len(Store(tmp_path).evidence()) == 1  # blank lines say nothing
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    with pytest.raises(CrucibleError, match=r"evidence.jsonl:4 is not UTF-8 text"):
        Store(tmp_path).evidence()
    path.unlink()
    path.mkdir()
    with pytest.raises(CrucibleError, match=r"cannot read .*evidence.jsonl: Is a directory"):
        Store(tmp_path).evidence()


@pytest.mark.parametrize(("op", "name"), renamed.VARIANTS)
def test_a_record_under_an_earlier_name_of_a_variant_is_read_and_counts_as_stale(tmp_path, op, name):
    store, variant = Store(tmp_path), discover().variant(op, renamed.VARIANTS[op, name])
    about = {"op": op, "variant": name, "source": source_hash(variant), "contract": contract_hash(variant.op)}
    store.add_evidence(evidence(**about, device=kind_of(variant)))
    assert [e.variant for e in Store(tmp_path).evidence()] == [name]
    assert store.proof(variant) is None
