"""``--compare``: the kernels of another revision, and what a ratio says."""

import functools
import json
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import bench
from harness.race import compare as module
from harness.race.compare import compare, markdown, verdict
from harness.race.entries import Field
from harness.race.old_tree import check_out
from harness.race.statistics import Interval
from registry.errors import EvidenceError, RequestError
from registry.fingerprint import contract_hash, source_hash
from registry.records import Evidence, Store
from registry.table import ROOT, discover

CHANGED, REMOVED = "numba_naive", "numba_flat"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Make a repository whose one commit has two residual variants fewer, or other, than the working tree."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "kernels", folder / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    changed = folder / "kernels" / "residual" / f"{CHANGED}.py"
    changed.write_text(changed.read_text() + "\n# another file\n")
    (folder / "kernels" / "residual" / f"{REMOVED}.py").unlink()
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "-A"), (*who, "commit", "-qm", "kernels")):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def old(project, tmp_path_factory):
    return check_out("HEAD", project, tmp_path_factory.mktemp("kept"))


@pytest.fixture
def fields():
    table = discover()
    board = SimpleNamespace(op=table.op("residual"), workload="step", dims={"N": 2, "C": 3}, dtype="float32")
    variants = [
        table.variant("residual", name) for name in (CHANGED, REMOVED, "numpy_add") if name in table.variants["residual"]
    ]
    return [Field(board, named=True, candidates=variants)]


def session_that_reads(now, then, status="passed"):
    """Return a session whose races have the given samples."""

    def race(_board, entries, budget_s, progress):
        progress("racing", 0.5)
        assert budget_s > 0
        for entry, samples in zip(entries, (now, then), strict=True):
            entry.samples_ms.extend(samples)
        entries[1].status = status

    return SimpleNamespace(kernels_path=(), torch=None, process=lambda _: None, load=lambda *_, **__: 0.0, race=race)


def run(session, fields, old):
    told = []
    found = compare(session, fields, old, 10.0, told.append, lambda *_: None)
    return {c.variant: c for c in found}, told


def test_another_revision_is_told_by_the_hashes_of_its_sources(old):
    table = discover()
    here = {v.name: source_hash(v) for v in table.variants["residual"].values()}
    there = {name: found for (op, name), found in old.hashes.items() if op == "residual"}
    assert REMOVED not in there
    assert {name for name in there if there[name] != here[name]} == {CHANGED}
    gelu = table.variant("gelu", "numba_naive")
    assert old.hashes["gelu", "numba_naive"] == source_hash(gelu)


def test_only_what_changed_is_raced(old, fields):
    found, raced = run(session_that_reads([1.0] * 9, [2.0] * 9), fields, old)
    assert (found[CHANGED].verdict, found[CHANGED].interval.ratio) == ("FASTER", 0.5)
    assert found[REMOVED].verdict == "NEW"
    assert [v.name for v in raced] == [CHANGED]


def test_a_contestant_that_failed_is_its_own_verdict(old, fields):
    found, _ = run(session_that_reads([1.0] * 9, [], "crashed"), fields, old)
    assert found[CHANGED].verdict == "crashed"
    assert found[CHANGED].note.startswith("then")


def test_nothing_proven_is_nothing_to_compare(old):
    with pytest.raises(EvidenceError, match="no variant has fresh evidence"):
        list(compare(session_that_reads([], []), [], old, 1.0, print, print))


def test_markdown_shows_what_was_raced_and_counts_the_rest(old, fields):
    found, _ = run(session_that_reads([3.0] * 9, [1.0] * 9), fields, old)
    same = module.Comparison("gelu", "step", "numba_rows", "SAME", note="the sources are identical")
    text = markdown([*found.values(), same], "HEAD", old.commit, "machine")
    assert f"| residual | step | `{CHANGED}` | SLOWER | 3.000 | 3.000-3.000 | 9 |" in text
    assert "numba_rows" not in text
    assert f"1 of {len(found) + 1}" in text


@given(st.floats(0.5, 2.0), st.floats(0, 0.2), st.floats(0, 0.2))
def test_a_verdict_is_never_given_against_its_interval(ratio, below, above):
    interval = Interval(ratio, ratio - below, ratio + above)
    said = verdict(interval)
    assert said != "FASTER" or interval.high < 1
    assert said != "SLOWER" or interval.low > 1
    assert said != "SAME" or (interval.low > 0.97 and interval.high < 1.03)


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((0.98, 0.975, 0.986), "FASTER"),
        ((1.02, 1.014, 1.025), "SLOWER"),
        ((0.996, 0.991, 0.999), "SAME"),
        ((0.97, 0.9, 1.04), "UNDECIDED"),
        ((1.0, 0.9, 1.1), "UNDECIDED"),
    ],
)
def test_two_per_cent_is_found_and_a_part_of_one_is_none(interval, said):
    assert verdict(Interval(*interval)) == said


def test_unknown_revision_is_one_line(project, tmp_path):
    with pytest.raises(RequestError, match="'v9': no such revision"):
        check_out("v9", project, tmp_path)


def test_command_with_nothing_changed_races_nothing(project, tmp_path, capsys, monkeypatch):
    table = discover()
    variant = table.variant("gelu_backward", "numba_naive")
    proof = {
        "op": "gelu_backward",
        "variant": variant.name,
        "source": source_hash(variant),
        "contract": contract_hash(variant.op),
    }
    Store(tmp_path).add_evidence(Evidence(**proof, status="passed", problems=40))
    monkeypatch.setattr(bench, "check_out", functools.partial(check_out, project=project, kept=tmp_path / "kept"))
    words = ["--op", "gelu_backward", "--variant", "numba_naive", "--results", str(tmp_path), "--compare", "HEAD", "--json"]
    assert bench.main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [(c["variant"], c["verdict"]) for c in answer["comparisons"]] == [("numba_naive", "SAME")]
