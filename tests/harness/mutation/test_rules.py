"""Planted bugs: each rule changes the code at one place and as its name says, and the battery finds the bugs."""

import re

import pytest

from harness import mutate
from harness.mutation.equivalents import EQUIVALENT
from harness.mutation.mutants import Candidate, candidates, chosen, headers_of, plant, same_code
from harness.mutation.rules import BLANK, RULES, Mutation, code_of, mutations_of
from registry.cuda import INCLUDE
from registry.paths import ROOT
from registry.table import discover
from simulator.clang import compile_to_ptx
from tests.house.document_check import document_of

SOURCES = sorted([*ROOT.glob("kernels/**/*.cu"), *INCLUDE.glob("*.cuh")])
EVERY = [mutation for source in SOURCES for mutation in mutations_of(source)]


def planted(variant, was, now):
    """Return the mutant of a variant in which the text `was` is replaced by `now`."""
    source = variant.path.with_suffix(".cu")
    text = source.read_text()
    at = text.index(was)
    return plant(Candidate(Mutation(source, RULES[0], text, at, at + len(was), now), (variant,)))


@pytest.fixture(scope="module")
def residual():
    """Return the simplest CUDA variant."""
    return discover().variant("residual", "cuda_naive")


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_rule_has_a_place_in_the_project(rule):
    assert any(mutation.rule is rule for mutation in EVERY)


def test_names_of_rules_are_their_own():
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_mutant_differs_at_one_place_and_keeps_its_lines():
    for mutation in EVERY:
        was, now = mutation.source.splitlines(), mutation.text.splitlines()
        assert len(was) == len(now)
        different = [number for number, (one, other) in enumerate(zip(was, now, strict=True), 1) if one != other]
        assert different[0] == mutation.line
        assert len(different) == 1 or mutation.rule.name == "sum by atomics"


def test_comments_strings_and_preprocessor_lines_stay():
    for mutation in EVERY:
        assert BLANK.findall(mutation.text) == BLANK.findall(mutation.source)


def test_mutants_are_all_different():
    assert len({(mutation.path, mutation.text) for mutation in EVERY}) == len(EVERY)


def test_code_without_comments_keeps_its_places():
    source = 'a; // b < c\n#include "x < y"\nf("<=") /* <\n< */ < g;\n'
    assert code_of(source) == "a;         \n                \nf(    )     \n     < g;\n"


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("if (row >= rows) return;", "early return dropped", "if (false) return;"),
        ("if (f(a, (b)) < n) y[i] = 0;", "guard dropped", "if (true) y[i] = 0;"),
        ("y = i < n && p(i) ? x[i] : 0.0f;", "condition taken as true", "y = true ? x[i] : 0.0f;"),
        (
            "for (int c = lane; c < n; c += WARP) f(c);",
            "last iteration skipped",
            "for (int c = lane; c + WARP < n; c += WARP) f(c);",
        ),
        ("for (int c = 0; c < n; ++c) f(c);", "last iteration skipped", "for (int c = 0; c + 1 < n; ++c) f(c);"),
        ("for (int c = t; c < n; c += 4 * T) {", "stride halved", "for (int c = t; c < n; c += (4 * T) / 2) {"),
        ("y[a[i]] = 0;", "index one more", "y[(a[i]) + 1] = 0;"),
        ("copy_wait<0>();", "one copy too few waited for", "copy_wait<1>();"),
        ("x = 1.0f;", "constant mistyped", "x = 1.001f;"),
    ],
)
def test_a_rule_makes_the_change_of_its_name(line, name, expected, tmp_path):
    path = tmp_path / "cuda_line.cu"
    path.write_text(line)
    assert expected in [mutation.text for mutation in mutations_of(path) if mutation.rule.name == name]


@pytest.mark.parametrize("line", ["__shared__ float a[8];", "float a[4], b[5];", "typedef float Sums[2][4];", "// y[i] = 0;"])
def test_declarations_and_comments_have_no_index(line, tmp_path):
    path = tmp_path / "cuda_line.cu"
    path.write_text(line)
    assert not [mutation for mutation in mutations_of(path) if mutation.rule.name.startswith("index")]


def test_known_equivalent_mutants_are_still_there():
    there = [(str(m.path.relative_to(ROOT)), m.rule.name, m.surroundings) for m in EVERY]
    for known in EQUIVALENT.values():
        for file, rule, part in known:
            assert any(path.endswith(file) and rule == r and part in code for path, r, code in there), (file, rule, part)


def test_choice_spreads_over_rules_and_files():
    every = candidates(v for op in discover().variants.values() for v in op.values() if v.path.with_suffix(".cu").exists())
    some = chosen(every, 2 * len(RULES), seed=1)
    assert len(some) == 2 * len(RULES)
    assert {c.mutation.rule.name for c in some} == {rule.name for rule in RULES}
    assert len({c.mutation.path for c in some}) > len(SOURCES) // 4
    assert chosen(every, 2 * len(RULES), seed=1) == some


def test_headers_are_followed():
    names = {path.name for path in headers_of(ROOT / "kernels" / "matmul" / "cuda_mma.cu")}
    assert names == {"crucible.cuh", "mma.cuh", "mma_loop.cuh", "mma_tile.cuh"}


def test_same_code_is_equivalent(residual):
    assert planted(residual, "x1[i] + x2[i]", "(x1[i] + x2[i])").status == "equivalent"
    assert planted(residual, "x1[i] + x2[i]", "x1[i] - x2[i]").status == ""


def test_a_bug_that_only_the_bfloat16_build_has_is_looked_for_where_bfloat16_is_taken():
    header, was, now = INCLUDE / "crucible.cuh", ">> (i % 2 * 16));", ">> (i % 2 * 15));"
    text = header.read_text()
    mutation = Mutation(header, RULES[0], text, text.index(was), text.index(was) + len(was), now)
    taken, not_taken = discover().variant("layer_norm", "cuda_vector"), discover().variant("softmax", "cuda_block")
    assert [plant(Candidate(mutation, (v,))).status for v in (taken, not_taken)] == ["", "equivalent"]
    copied = plant(Candidate(mutation, (taken,)))
    assert discover(copied.folder).variant("layer_norm", copied.name).dtypes == taken.dtypes


def test_a_mutant_that_does_not_compile_is_reported(residual):
    mutant = planted(residual, "x1[i]", "x3[i]")
    assert mutant.status == "not compiling"
    assert "x3" in mutant.message


def test_same_code_wherever_it_stands(residual, tmp_path):
    source = residual.path.with_suffix(".cu")
    copy = tmp_path / "cuda_other.cu"
    copy.write_text(source.read_text())
    one, two = (compile_to_ptx(path, include=(INCLUDE,)) for path in (source, copy))
    assert one != two
    assert same_code(one) == same_code(two)
    assert "add.f32" in same_code(one) or "add.rn.f32" in same_code(one)


def test_battery_finds_planted_bugs(capsys):
    words = ["--op", "residual", "--variant", "cuda_naive", "--rule", "becomes <=", "--most", "2", "--examples", "4"]
    assert mutate.main([*words, "--json"]) == 0
    written = document_of(capsys.readouterr().out, "harness.mutate", 0)
    assert (written["score"], written["counts"]) == (1.0, {"found": 1})
    mutant = written["mutants"][0]
    assert (mutant["status"], mutant["file"], mutant["line"]) == ("out_of_bounds", "kernels/residual/cuda_naive.cu", 7)
    assert mutant["mutated"] == mutant["original"].replace("i < size", "i <= size")
    assert "--kernels-path" in mutant["reproduce"]


def test_low_score_is_a_failure(capsys):
    words = ["--op", "residual", "--variant", "cuda_naive", "--rule", "guard dropped", "--most", "2", "--examples", "2"]
    assert mutate.main([*words, "--least", "1.1"]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"guard dropped .* 1 .*out_of_bounds 1", printed)
    assert "1 found, 0 survived: score 100.0%" in printed


def test_wrong_names_are_refused(capsys):
    assert mutate.main(["--op", "residual", "--variant", "numpy"]) == 2
    assert "no CUDA source" in capsys.readouterr().err


def test_an_unknown_rule_is_named_beside_all_rules_of_the_project(capsys):
    assert mutate.main(["--op", "gelu", "--rule", "nosuch"]) == 2
    assert "unknown rule 'nosuch'" in capsys.readouterr().err
