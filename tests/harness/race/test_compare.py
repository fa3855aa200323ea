"""``--compare``: the kernels of another revision, and the verdict for a ratio."""

import functools
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
from registry.paths import ROOT
from registry.records import Evidence, Row, Store
from registry.table import discover
from tests.house.document_check import document_of

CHANGED, REMOVED = "numba_naive", "numba_flat"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Create a repository with one commit, in which one residual variant is missing and another has other sources."""
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
    """Return a session whose races give these samples."""

    def race(_board, entries, budget_s, progress):
        progress("racing", 0.5)
        assert budget_s > 0
        for entry, samples in zip(entries, (now, then), strict=True):
            entry.samples_ms.extend(samples)
        entries[1].status = status

    return SimpleNamespace(kernels_path=(), torch=None, process=lambda _: None, load=lambda *_, **__: 0.0, race=race)


def run(session, fields, old):
    notices = []
    found = compare(session, fields, old, 10.0, notices.append, lambda *_: None)
    return {c.variant: c for c in found}, notices


def test_another_revision_is_recognised_by_the_hashes_of_its_sources(old):
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


def test_no_variant_is_nothing_to_compare(old):
    with pytest.raises(EvidenceError, match="nothing to compare"):
        list(compare(session_that_reads([], []), [], old, 1.0, print, print))


def test_a_variant_without_evidence_is_unproven_if_it_changed_or_is_new_and_is_not_raced(old, fields):
    table = discover()
    rows = [
        Row(variant=v.name, source=source_hash(v), status="unproven", note=f"prove {v.name}")
        for v in table.variants["residual"].values()
    ]
    gone = Row(variant=CHANGED, source="", status="unloadable", note="SyntaxError")
    fields[0].candidates, fields[0].refused = [], [*rows, gone]
    found = list(compare(session_that_reads([], []), fields, old, 1.0, pytest.fail, print))
    verdicts = {(c.variant, c.verdict) for c in found}
    assert {(CHANGED, "UNPROVEN"), (REMOVED, "UNPROVEN"), (CHANGED, "unloadable"), ("numpy", "SAME")} <= verdicts
    assert {v for _, v in verdicts} == {"UNPROVEN", "unloadable", "SAME"}
    assert f"| residual | step | `{CHANGED}` | UNPROVEN |  |  |  | prove {CHANGED} |" in markdown(found, "HEAD", "1", "here")


@pytest.mark.parametrize(
    ("text", "verdicts"),
    [("slower", {"SLOWER"}), ("unproven, slower", {"SLOWER", "UNPROVEN"}), ("UNPROVEN", {"UNPROVEN"}), (None, set())],
)
def test_fail_on_names_verdicts(text, verdicts):
    assert module.fail_on(text) == verdicts


@pytest.mark.parametrize("text", ["slowr", "slower,slowr", "slowr,"])
def test_an_unknown_verdict_is_refused_with_the_nearest(text):
    with pytest.raises(RequestError, match="'slowr'; did you mean 'slower'"):
        module.fail_on(text)


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


def compared(project, folder, capsys, monkeypatch, *words):
    """Run the command against the project's only commit, and return its exit code, its verdicts and its messages."""
    monkeypatch.setattr(bench, "check_out", functools.partial(check_out, project=project, kept=folder / "kept"))
    code = bench.main([*words, "--results", str(folder), "--compare", "HEAD", "--json"])
    shown = capsys.readouterr()
    document = document_of(shown.out, "harness.bench --compare", code)
    return code, {(c["variant"], c["verdict"]) for c in document.get("comparisons", [])}, shown.err


def prove(folder, op, name):
    variant = discover().variant(op, name)
    about = {"op": op, "variant": name, "source": source_hash(variant), "contract": contract_hash(variant.op)}
    Store(folder).add_evidence(Evidence(**about, status="passed", problems=40))


def test_command_with_nothing_changed_races_nothing(project, tmp_path, capsys, monkeypatch):
    prove(tmp_path, "gelu_backward", "numba_naive")
    words = ["--op", "gelu_backward", "--variant", "numba_naive", "--fail-on", "slower,unproven"]
    code, verdicts, errors = compared(project, tmp_path, capsys, monkeypatch, *words)
    assert (code, verdicts) == (0, {("numba_naive", "SAME")})
    assert "took" in errors
    assert "of a time budget of 60 s" in errors


@pytest.mark.parametrize(("words", "code"), [([], 0), (["--fail-on", "slower"], 0), (["--fail-on", "slower,unproven"], 1)])
def test_command_with_a_changed_unproven_variant_says_so_and_fails_on_request(
    words, code, project, tmp_path, capsys, monkeypatch
):
    chosen = ["--op", "residua[l]", "--variant", CHANGED]
    ended, verdicts, _ = compared(project, tmp_path, capsys, monkeypatch, *chosen, *words)
    assert (ended, verdicts) == (code, {(CHANGED, "UNPROVEN")})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compare", "HEAD", "--fail-on", "slowr"], "did you mean 'slower'?"),
        (["--fail-on", "slower"], "--fail-on names verdicts of --compare"),
    ],
)
def test_fail_on_that_makes_no_sense_is_one_line(words, message, tmp_path, capsys):
    assert bench.main(["--op", "residual", "--results", str(tmp_path), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
