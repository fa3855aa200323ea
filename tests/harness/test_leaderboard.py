"""Boards and champions, derived from made-up runs and evidence."""

import dataclasses
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import explain, leaderboard
from harness import pages as readme
from harness.race import champions
from harness.race.statistics import paired_ratio
from harness.report.ladder import step_times
from registry import records
from registry.fingerprint import contract_hash, source_hash
from registry.records import Evidence, Row, Run, Store
from registry.table import discover
from tests.house.document_check import document_of

TABLE = discover()
OP = TABLE.op("layer_norm")
NAMES = sorted(n for n in TABLE.variants["layer_norm"] if n != "numpy")
DIMS = {"N": 256, "C": 768}


def proof(name, **changes):
    variant = TABLE.variant("layer_norm", name)
    found = Evidence(
        op="layer_norm", variant=name, source=source_hash(variant), contract=contract_hash(OP), status="passed", problems=40
    )
    return dataclasses.replace(found, **changes)


def row(name, *samples, **changes):
    source = source_hash(TABLE.variant("layer_norm", name)) if name in TABLE.variants["layer_norm"] else ""
    baseline = name in ("numpy", "torch")
    found = Row(variant=name, source=source, status="passed", baseline=baseline, samples_ms=list(samples))
    return dataclasses.replace(found, **changes)


def run(*rows, **changes):
    found = Run(
        op="layer_norm",
        workload="gpt2-124m-b4-t64",
        dims=DIMS,
        params={"eps": 1e-5},
        protocol="cpu-warm",
        threads=2,
        rows=list(rows),
        controls={"a_a": 1.0, "twice": 2.0, "floor_us": 0.1},
        roofline={"gflops": 100.0, "floor_ms": 0.01},
    )
    return dataclasses.replace(found, **changes)


def steady(ms, rounds=12):
    """Return samples that spread by a thousandth."""
    return [ms * (1 + (i % 3 - 1) * 1e-3) for i in range(rounds)]


def length(name):
    return sum(bool(line.strip()) for line in TABLE.variant("layer_norm", name).path.read_text().splitlines())


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path)
    made.add_evidence(*map(proof, NAMES))
    return made


def test_fastest_proven_variant_is_champion_and_baselines_never_are(store):
    store.add_run(
        run(row("torch", *steady(0.1)), row("numpy", *steady(0.2)), row(NAMES[0], *steady(2)), row(NAMES[1], *steady(1)))
    )
    [champion] = champions.refresh(store, TABLE)
    assert (champion.variant, champion.runner_up, champion.threads) == (NAMES[1], NAMES[0], 2)
    assert champion.ratio == pytest.approx(2, rel=1e-2)
    assert champion.ratio_low <= champion.ratio <= champion.ratio_high
    assert champion.reason == "fastest of 2 proven variants"
    assert store.champions() == [champion]


def test_tie_goes_to_the_shorter_file(store):
    short, long = min(NAMES, key=length), max(NAMES, key=length)
    wave = [1 + 0.1 * (i % 2) for i in range(12)]
    other = [1 + 0.1 * ((i + 1) % 2) - 1e-4 for i in range(12)]
    store.add_run(run(row(short, *wave), row(long, *other)))
    [champion] = champions.derive(store, TABLE)
    assert (champion.variant, champion.runner_up) == (short, long)
    assert champion.ratio_low <= 1 <= champion.ratio_high
    assert f"shorter file: {length(short)} lines against {length(long)}" in champion.reason


NOISY = row(NAMES[0], 2, 20, 3, 30, 2, 25), row(NAMES[1], 1, 40, 1.5, 30, 1, 50)


def test_a_race_that_did_not_decide_crowns_nobody_and_says_how_to_race_again(store, tmp_path, capsys):
    store.add_run(run(*NOISY))
    assert champions.refresh(store, TABLE) == store.champions() == []
    [standing] = champions.standings(store, TABLE)
    assert standing.champion is None
    assert {standing.undecided.winner, standing.undecided.runner_up} == set(NAMES[:2])
    for command in (explain, leaderboard):
        assert command.main(["--op", "layer_nor[m]", "--results", str(tmp_path)]) == 0
        shown = "".join(capsys.readouterr())
        assert "undecided: layer_norm at gpt2-124m-b4-t64: " in shown
        assert "there is no champion; race again with: python -m harness.bench --op 'layer_nor[m]' " in shown
        assert f"--workload gpt2-124m-b4-t64 --threads 2 --protocol cpu-warm --budget 2m --results {tmp_path}" in shown


def test_an_earlier_sound_race_speaks_while_the_newest_is_undecided(store, tmp_path, capsys):
    store.add_run(run(row(NAMES[0], *steady(1)), row(NAMES[1], *steady(2))), run(*NOISY))
    [champion] = champions.derive(store, TABLE)
    assert (champion.variant, champion.ratio) == (NAMES[0], pytest.approx(2, rel=1e-2))
    assert explain.main(["--op", "layer_norm", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert f"{NAMES[0]} stays champion by an earlier run; race again with: " in shown
    store.add_run(run(row(NAMES[0], *steady(3)), row(NAMES[1], *steady(2))))
    [standing] = champions.standings(store, TABLE)
    assert (standing.champion.variant, standing.undecided) == (NAMES[1], None)


def test_a_race_by_dims_is_raced_again_by_dims(store):
    store.add_run(run(*NOISY, workload="N=256,C=768"))
    [standing] = champions.standings(store, TABLE)
    assert "--dims 'N=256 C=768'" in champions.race_again(standing.undecided.run, TABLE)


def test_a_wide_interval_that_lies_beyond_a_factor_of_two_decides(store):
    store.add_run(
        run(row(NAMES[0], *[1.0] * 12), row(NAMES[1], 50.0))
    )  # one call of a slow variant is trusted to a factor of 2
    [champion] = champions.derive(store, TABLE)
    assert (champion.variant, champion.ratio_low, champion.ratio_high) == (NAMES[0], pytest.approx(25), pytest.approx(100))


def test_of_two_that_tie_the_one_without_a_second_thread_pool_wins(tmp_path):
    names, op = ("numpy_blas", "numba_packed"), "matmul"
    blas, packed = (TABLE.variant(op, n) for n in names)
    store = Store(tmp_path)
    store.add_evidence(
        *(
            Evidence(op=op, variant=v.name, source=source_hash(v), contract=contract_hash(v.op), status="passed", problems=40)
            for v in (blas, packed)
        )
    )
    rows = [Row(variant=v.name, source=source_hash(v), status="passed", samples_ms=[1.0, 1.01] * 6) for v in (blas, packed)]
    store.add_run(
        Run(
            op=op,
            workload="w",
            dims={"N": 1, "C": 1, "O": 1},
            params={},
            protocol="cpu-warm",
            threads=2,
            rows=rows,
            controls={},
            roofline={},
        )
    )
    [champion] = champions.derive(store, TABLE)
    assert champion.variant == "numba_packed"
    assert "second thread pool" in champion.reason


@pytest.mark.parametrize(
    "spoiled",
    [
        row(NAMES[0], *steady(1), source="0" * 16),
        row(NAMES[0], status="wrong"),
        row(NAMES[0], status="implausible"),
        row("numba_gone", *steady(1)),
    ],
    ids=["sources changed", "wrong", "implausible", "file gone"],
)
def test_row_that_does_not_hold_cannot_win(store, spoiled):
    store.add_run(run(spoiled, row(NAMES[1], *steady(2))))
    [champion] = champions.derive(store, TABLE)
    assert (champion.variant, champion.runner_up, champion.reason) == (NAMES[1], "", "the only proven variant in the race")


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "0" * 16},
        {"contract": "0" * 16},
        {"status": "failed", "gate": "values"},
        {"versions": {}},
        {"status": "wrong", "gate": "race"},
    ],
)
def test_variant_without_fresh_evidence_cannot_win(tmp_path, changes):
    store = Store(tmp_path)
    store.add_evidence(proof(NAMES[1]), proof(NAMES[0], **changes))
    store.add_run(run(row(NAMES[0], *steady(1)), row(NAMES[1], *steady(2))))
    [champion] = champions.derive(store, TABLE)
    assert champion.variant == NAMES[1]


def test_newest_run_speaks_but_a_race_of_fewer_does_not_displace_a_race_of_all(store):
    store.add_run(run(row(NAMES[0], *steady(1)), row(NAMES[1], *steady(2))))
    store.add_run(run(row(NAMES[0], *steady(2)), row(NAMES[1], *steady(1))))
    store.add_run(run(row(NAMES[0], *steady(3))))
    [champion] = champions.derive(store, TABLE)
    assert champion.variant == NAMES[1]


def test_threads_workloads_and_protocols_have_champions_of_their_own(store):
    fast, slow = row(NAMES[0], *steady(1)), row(NAMES[1], *steady(2))
    store.add_run(
        run(fast, slow), run(fast, slow, threads=1), run(fast, slow, workload="N=3,C=4"), run(fast, slow, protocol="cpu-cold")
    )
    keys = {(c.workload, c.threads, c.protocol) for c in champions.derive(store, TABLE)}
    assert len(keys) == 4


def test_dtypes_have_champions_of_their_own_and_only_float32_is_on_the_pages(store, tmp_path, capsys):
    store.add_run(run(row("torch", *steady(4)), row(NAMES[0], *steady(1)), row(NAMES[1], *steady(2))))
    store.add_run(run(row("torch", *steady(4)), row(NAMES[0], *steady(2)), row(NAMES[1], *steady(1)), dtype="bfloat16"))
    found = {c.dtype: c.variant for c in champions.refresh(store, TABLE)}
    assert found == {"float32": NAMES[0], "bfloat16": NAMES[1]}
    assert step_times(OP, store.runs(), "gpt2-124m-b4-t64").total(NAMES[0]) == pytest.approx(1, rel=1e-2)
    assert leaderboard.main(["--op", "layer_nor[m]", "--markdown", "--results", str(tmp_path)]) == 0
    assert "### layer_norm, gpt2-124m-b4-t64, bfloat16\n" in capsys.readouterr().out
    assert explain.main(["--op", "layer_nor[m]", "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert all(re.search(f"{name}.*{dtype}|{dtype}.*{name}", printed) for dtype, name in found.items()), printed


@settings(max_examples=40)
@given(st.lists(st.lists(st.floats(0.01, 10), min_size=1, max_size=8), min_size=len(NAMES), max_size=len(NAMES)))
def test_champion_is_not_decidedly_slower_than_another(tmp_path_factory, samples):
    store = Store(tmp_path_factory.mktemp("store"))
    store.add_evidence(*map(proof, NAMES))
    store.add_run(run(*(row(name, *taken) for name, taken in zip(NAMES, samples, strict=True))))
    found = champions.derive(store, TABLE)
    [standing] = champions.standings(store, TABLE)
    assert (standing.undecided is None) == bool(found)
    if not found:
        interval = standing.undecided.interval
        assert interval.high > 2 * interval.low
        assert interval.low < 2
        return
    [champion] = found
    assert champion.ratio_high <= 2 * champion.ratio_low or champion.ratio_low >= 2
    taken = dict(zip(NAMES, samples, strict=True))
    beaten = {n for n in NAMES if any(paired_ratio(taken[n], other).low > 1 for other in samples)}
    assert champion.variant not in beaten or beaten == set(NAMES)
    assert champion.runner_up in set(NAMES) - {champion.variant}
    assert json.loads(json.dumps(champion.to_json())) == champion.to_json()


def test_records_come_back_as_they_were_written(store):
    made = run(row(NAMES[0], *steady(1)), row("torch", *steady(2)), row(NAMES[1], status="unproven", note="make it"))
    store.add_run(made)
    assert store.runs() == [made]


def test_check_tells_a_typed_champion_from_a_derived_one(store, tmp_path, capsys):
    store.add_run(run(row(NAMES[0], *steady(1)), row(NAMES[1], *steady(2))))
    derived = champions.refresh(store, TABLE)
    assert leaderboard.main(["--results", str(tmp_path), "--check"]) == 0
    store.write_champions([dataclasses.replace(derived[0], variant=NAMES[1], runner_up=NAMES[0])])
    assert leaderboard.main(["--results", str(tmp_path), "--check"]) == 1
    assert f"written {NAMES[1]}, derived {NAMES[0]}" in capsys.readouterr().out
    store.write_champions([])
    assert leaderboard.main(["--results", str(tmp_path), "--check"]) == 1


def test_a_user_s_race_leaves_the_tracked_champions_and_the_generated_pages_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    tracked, own = Store(tmp_path, keep=True), Store(tmp_path)
    tracked.add_evidence(*map(proof, NAMES))
    tracked.add_run(run(row("torch", *steady(4)), row(NAMES[0], *steady(1)), row(NAMES[1], *steady(2))))
    assert leaderboard.main(["--results", str(tmp_path), "--keep"]) == 0
    files = {path: path.read_bytes() for path in tracked.folder.iterdir()}
    page = readme.board(TABLE, tracked)
    own.add_run(run(row("torch", *steady(4)), row(NAMES[0], *steady(2)), row(NAMES[1], *steady(1))))
    own.add_evidence(proof(NAMES[0], status="wrong", gate="race"))
    assert leaderboard.main(["--results", str(tmp_path)]) == 0
    assert [c.variant for c in own.champions()] == [NAMES[1]]
    assert [c.variant for c in tracked.champions()] == [NAMES[0]]
    assert {path: path.read_bytes() for path in tracked.folder.iterdir()} == files
    assert readme.board(TABLE, tracked) == page
    assert leaderboard.main(["--results", str(tmp_path), "--check"]) == 0
    capsys.readouterr()


def test_board_is_shown_as_markdown_and_as_a_page(store, tmp_path, capsys):
    store.add_run(run(row("torch", *steady(3)), row(NAMES[0], *steady(1)), row(NAMES[1], *steady(2))))
    page = tmp_path / "board.html"
    assert leaderboard.main(["--results", str(tmp_path), "--markdown", "--html", str(page), "--op", "layer_norm"]) == 0
    shown = capsys.readouterr().out
    assert f"| 1 | {NAMES[0]} | 1.00 ms |" in shown
    assert "| baseline | torch | 3.00 ms |" in shown
    html = page.read_text()
    assert html.count("<svg") == 1
    assert NAMES[1] in html
    assert "http" not in html.replace("http-equiv", "")


def test_page_that_cannot_be_written_is_one_line(store, tmp_path, capsys):
    store.add_run(run(row(NAMES[0], *steady(1))))
    assert leaderboard.main(["--results", str(tmp_path), "--html", str(tmp_path / "no" / "board.html")]) == 1
    assert capsys.readouterr().err.startswith("error: cannot write")


def test_explain_says_chosen_runner_up_interval_and_reason(store, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    store.add_run(run(row(NAMES[0], *steady(1)), row(NAMES[1], *steady(2))))
    champions.refresh(store, TABLE)
    assert explain.main(["--op", "layer_norm", "--results", str(tmp_path), "--workload", "gpt2-124m-b4-t64"]) == 0
    shown = capsys.readouterr().out
    for word in (NAMES[0], NAMES[1], "2.000 (2.000 to 2.000)", "fastest of 2 proven variants"):
        assert word in shown


def test_documents_have_the_champion_its_rule_and_each_row(store, tmp_path, capsys):
    store.add_run(run(row("torch", *steady(3)), row(NAMES[0], *steady(1)), row(NAMES[1], *steady(2))))
    words = ["--op", "layer_norm", "--results", str(tmp_path), "--json"]
    assert leaderboard.main(words) == 0
    [race] = document_of(capsys.readouterr().out, "harness.leaderboard", 0)["races"]
    verdicts = [("champion", 3), ("slower", 1.5), ("baseline", 1)]
    assert [(r["verdict"], pytest.approx(r["speedup_vs_torch"], rel=1e-2)) for r in race["rows"]] == verdicts
    assert explain.main(words) == 0
    document = document_of(capsys.readouterr().out, "harness.explain", 0)
    [champion] = document["champions"]
    assert champion == race["champion"]
    assert (champion["variant"], champion["runner_up"], champion["rule"]) == (NAMES[0], NAMES[1], "fastest")
    assert (champion["reason"], document["undecided"]) == ("fastest of 2 proven variants", [])


def test_document_of_an_undecided_race_has_the_command_that_races_again(store, tmp_path, capsys):
    store.add_run(run(row(NAMES[0], *([1.0, 9.0] * 6)), row(NAMES[1], *([9.0, 1.0] * 6))))
    assert explain.main(["--op", "layer_norm", "--results", str(tmp_path), "--json"]) == 0
    document = document_of(capsys.readouterr().out, "harness.explain", 0)
    [undecided] = document["undecided"]
    assert document["champions"] == []
    assert undecided["command"].startswith("python -m harness.bench --op 'layer_nor[m]' --workload gpt2-124m-b4-t64 ")
    assert undecided["command"].endswith(f"--results {tmp_path}")


def test_document_of_a_check_names_the_champions_that_differ(tmp_path, capsys):
    tracked = Store(tmp_path, keep=True)
    tracked.add_evidence(*map(proof, NAMES))
    tracked.add_run(run(row(NAMES[0], *steady(1))))
    words = ["--results", str(tmp_path), "--check", "--json"]
    assert leaderboard.main(words) == 1
    document = document_of(capsys.readouterr().out, "harness.leaderboard --check", 1)
    [difference] = document["differences"]
    assert (document["champions"], difference["written"], difference["derived"]) == (0, None, NAMES[0])
    champions.refresh(tracked, TABLE)
    assert leaderboard.main(words) == 0
    assert document_of(capsys.readouterr().out, "harness.leaderboard --check", 0)["differences"] == []


@pytest.mark.parametrize(
    ("command", "arguments", "code", "message"),
    [
        (explain, ["--op", "layer_norm"], 1, "python -m harness.bench --op layer_norm"),
        (explain, ["--op", "layr_norm"], 2, "did you mean 'layer_norm'?"),
        (leaderboard, ["--op", "layer_norm"], 1, "python -m harness.bench --op layer_norm"),
        (leaderboard, ["--op", "layr_norm"], 2, "did you mean 'layer_norm'?"),
    ],
)
def test_nothing_to_show_is_one_line(command, arguments, code, message, tmp_path, capsys):
    assert command.main([*arguments, "--results", str(tmp_path)]) == code
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_explain_offers_the_nearest_workload(store, tmp_path, capsys):
    store.add_run(run(row(NAMES[0], *steady(1))))
    champions.refresh(store, TABLE)
    assert explain.main(["--op", "layer_norm", "--results", str(tmp_path), "--workload", "gpt2-124m-b4-t65"]) == 2
    assert "did you mean 'gpt2-124m-b4-t64'?" in capsys.readouterr().err
