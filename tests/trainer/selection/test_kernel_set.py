"""Kernels are chosen from the records of this machine, with a reason, and only if they are proven."""

import pytest

from models import MODELS
from registry import EvidenceError, RequestError, UnknownNameError, discover
from registry.fingerprint import contract_hash, source_hash
from registry.machine import versions
from registry.records import Champion, Evidence, Row, Run, Store
from trainer.program.template import StepTemplate
from trainer.selection.kernel_request import parse_kernels
from trainer.selection.kernel_set import Choice, Chooser

TABLE = discover()
NANO = MODELS["gpt2-nano"]
B, T = 2, 32
STEP = f"gpt2-nano-b{B}-t{T}"


def prove(store, variant, status="passed", device="cpu"):
    """Write evidence about a variant."""
    store.add_evidence(
        Evidence(
            op=variant.op.name,
            variant=variant.name,
            source=source_hash(variant),
            contract=contract_hash(variant.op),
            status=status,
            problems=40,
            versions=versions(device),
            device=device,
            gate="" if status == "passed" else "values",
        )
    )  # fmt: skip (one record)


def crown(variant, workload, dims, **fields):
    """Return a champion."""
    return Champion(
        op=variant.op.name,
        workload=workload,
        dims=dims,
        variant=variant.name,
        source=source_hash(variant),
        **{"threads": 2, "median_ms": 1.0, **fields},
    )  # fmt: skip (one record)


@pytest.fixture
def store(tmp_path):
    """Return an empty store."""
    return Store(tmp_path)


def chooser(store, threads=2, device="cpu"):
    """Return a chooser for a small training step."""
    return Chooser(TABLE, store, StepTemplate(TABLE, NANO, B, T), threads, device)


def choose(store, text):
    """Return the choices for a value of ``--kernels``."""
    return chooser(store).choose(parse_kernels(text))


def test_numpy_means_the_reference_everywhere(store):
    assert {c.variant.name for c in choose(store, "numpy").values()} == {"numpy"}


def test_a_named_variant_replaces_the_base_for_all_calls_of_its_op(store):
    variant = TABLE.variant("matmul", "numpy_blas")
    prove(store, variant)
    chosen = choose(store, "numpy,matmul=numpy_blas")
    assert {label for (op, label), c in chosen.items() if c.variant is variant} == {"qkv", "attproj", "fcproj", "head"}
    assert chosen["attention", ""].variant.name == "numpy"


def test_a_named_call_beats_a_named_op(store):
    prove(store, TABLE.variant("matmul", "numpy_blas"))
    chosen = choose(store, "numpy,matmul/head=numpy,matmul=numpy_blas")
    assert chosen["matmul", "head"].variant.name == "numpy"
    assert chosen["matmul", "qkv"].variant.name == "numpy_blas"


def test_a_variant_without_evidence_is_refused_with_the_command_that_makes_it(store):
    with pytest.raises(EvidenceError, match=r"python -m harness\.verify --op matmul --variant numpy_blas"):
        choose(store, "numpy,matmul=numpy_blas")


def test_a_variant_that_failed_its_proof_is_refused(store):
    prove(store, TABLE.variant("matmul", "numpy_blas"), status="failed")
    with pytest.raises(EvidenceError, match="failed at gate 'values'"):
        choose(store, "numpy,matmul=numpy_blas")


def test_evidence_about_other_sources_does_not_count(store):
    variant = TABLE.variant("matmul", "numpy_blas")
    store.add_evidence(
        Evidence(
            op="matmul", variant="numpy_blas", source="0" * 16, contract=contract_hash(variant.op), status="passed", problems=40
        )
    )
    with pytest.raises(EvidenceError, match="no fresh evidence"):
        choose(store, "numpy,matmul=numpy_blas")


def test_the_champion_of_this_very_call_is_taken(store):
    blas, packed = (TABLE.variant("matmul", n) for n in ("numpy_blas", "numba_packed"))
    prove(store, blas)
    prove(store, packed)
    dims = chooser(store).calls["matmul", "qkv"].dims
    store.write_champions(
        [
            crown(packed, "gpt2-124m-b4-t64/qkv", dims, runner_up="numpy_blas"),
            crown(blas, f"{STEP}/qkv", dims, runner_up="numba_packed", ratio=1.25, ratio_low=1.2, ratio_high=1.3),
        ]
    )
    choice = chooser(store).champion(("matmul", "qkv"), chooser(store).calls["matmul", "qkv"])
    assert choice.variant is blas
    assert choice.reason == f"champion of {STEP}/qkv"
    assert choice.detail.startswith("numba_packed takes 1.25 (1.20-1.30) times the time")


def test_else_that_of_the_most_similar_shape(store):
    blas, packed = (TABLE.variant("matmul", n) for n in ("numpy_blas", "numba_packed"))
    prove(store, blas)
    prove(store, packed)
    store.write_champions(
        [
            crown(packed, "gpt2-124m-b4-t64/qkv", {"N": 256, "C": 768, "O": 2304}),
            crown(blas, "gpt2-nano-b4-t32/qkv", {"N": 128, "C": 64, "O": 192}),
        ]
    )
    choice = chooser(store).champion(("matmul", "qkv"), chooser(store).calls["matmul", "qkv"])
    assert choice.variant is blas
    assert choice.reason == "champion of gpt2-nano-b4-t32/qkv, the most similar shape raced here"


def test_a_champion_of_as_many_threads_is_preferred(store):
    blas, packed = (TABLE.variant("matmul", n) for n in ("numpy_blas", "numba_packed"))
    prove(store, blas)
    prove(store, packed)
    dims = chooser(store).calls["matmul", "qkv"].dims
    store.write_champions([crown(packed, f"{STEP}/qkv", dims, threads=1), crown(blas, f"{STEP}/head", dims, threads=2)])
    assert chooser(store, threads=2).champion(("matmul", "qkv"), chooser(store).calls["matmul", "qkv"]).variant is blas
    alone = chooser(store, threads=1).champion(("matmul", "qkv"), chooser(store).calls["matmul", "qkv"])
    assert alone.variant is packed


@pytest.mark.parametrize(
    "change", [{"source": "0" * 16}, {"variant": "numba_gone"}, {"device": "cuda", "protocol": "cuda-cold"}]
)
def test_a_champion_that_is_not_what_was_raced_is_none(store, change):
    blas = TABLE.variant("matmul", "numpy_blas")
    prove(store, blas)
    calls = chooser(store).calls
    champion = {**crown(blas, f"{STEP}/qkv", calls["matmul", "qkv"].dims).to_json(), **change}
    store.write_champions([Champion.from_json(champion)])
    assert chooser(store).champion(("matmul", "qkv"), calls["matmul", "qkv"]) is None


def test_an_unproven_champion_is_none(store):
    blas = TABLE.variant("matmul", "numpy_blas")
    calls = chooser(store).calls
    store.write_champions([crown(blas, f"{STEP}/qkv", calls["matmul", "qkv"].dims)])
    assert chooser(store).champion(("matmul", "qkv"), calls["matmul", "qkv"]) is None
    assert "matmul" in chooser(store).without_champion(parse_kernels("best"))


def test_only_best_needs_champions(store):
    assert chooser(store).without_champion(parse_kernels("numpy")) == []
    every = chooser(store).without_champion(parse_kernels("best"))
    assert set(every) == {op for op, _ in chooser(store).calls}
    named = chooser(store).without_champion(parse_kernels("attention=numpy"))
    assert set(every) - set(named) == {"attention"}


def test_numba_takes_the_fastest_of_the_newest_race(store):
    tiles, packed = (TABLE.variant("matmul", n) for n in ("numba_tiles", "numba_packed"))
    for variants in TABLE.variants.values():
        for variant in variants.values():
            prove(store, variant)
    dims = chooser(store).calls["matmul", "qkv"].dims
    rows = [
        Row(variant=v.name, source=source_hash(v), status="passed", samples_ms=[ms])
        for v, ms in ((tiles, 1.0), (packed, 2.0), (TABLE.variant("matmul", "numpy_blas"), 0.5))
    ]
    store.add_run(
        Run(
            op="matmul",
            workload=f"{STEP}/qkv",
            dims=dims,
            params={},
            protocol="cpu-warm",
            threads=2,
            rows=rows,
            controls={},
            roofline={},
        )
    )  # fmt: skip (one record)
    chosen = choose(store, "numba")
    assert chosen["matmul", "qkv"].variant is tiles
    assert {c.variant.backend for c in chosen.values()} == {"numba"}


def test_numba_without_any_proof_says_how_to_make_one(store):
    with pytest.raises(EvidenceError, match=r"python -m harness.verify --op \w+ --variant 'numba_\*'"):
        choose(store, "numba")


def test_best_falls_back_to_the_highest_proven_rung(store):
    for variants in TABLE.variants.values():
        for variant in variants.values():
            prove(store, variant)
    chosen = choose(store, "best")
    assert chosen["attention", ""].variant.name == "numba_flash"
    assert "no champion" in chosen["attention", ""].reason
    assert "numpy" not in {c.variant.name for c in chosen.values()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bets", "unknown kernel set 'bets'; did you mean 'best'"),
        ("matmull=numpy", "unknown op 'matmull'; did you mean 'matmul'"),
        ("matmul=numpy_blass", "unknown variant of matmul 'numpy_blass'; did you mean 'numpy_blas'"),
        ("matmul/heat=numpy", "unknown call of matmul 'heat'; did you mean 'head'"),
        ("gelu=numpy", "this GPT-2 step does not call gelu; it calls matmul_gelu; try --kernels matmul_gelu=numpy"),
        ("softmax=numpy", "this GPT-2 step does not call softmax; it calls adamw, attention, "),
        ("softmax=numpy", "; try --kernels best"),
        ("geluu=numpy", "unknown op 'geluu'; did you mean 'gelu'"),
        ("matmul=", "'matmul=' is not of the form op=variant"),
        ("numpy,numba", "'numba' is not of the form op=variant"),
        ("none.toml", "'none.toml' cannot be read"),
    ],
)
def test_a_wrong_request_is_one_clear_line(store, text, message):
    with pytest.raises((RequestError, UnknownNameError)) as caught:
        choose(store, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_only_variants_without_evidence_are_unproven(store):
    prove(store, TABLE.variant("adamw", "numba_fused"), status="failed")
    assert chooser(store).unproven(["adamw"]) == {"adamw": ["numpy_inplace"]}


def test_a_first_run_leaves_the_naive_rungs_out(store):
    lacking = chooser(store).unproven(["layer_norm", "gelu"])
    assert "numba_rows" in lacking["layer_norm"]
    assert not [name for names in lacking.values() for name in names if name.endswith("naive")]


@pytest.mark.parametrize("changed", [False, True])
def test_an_op_whose_race_crowned_nobody_is_raced_again_only_after_a_change(store, changed):
    rows, naive = (TABLE.variant("layer_norm", name) for name in ("numba_rows", "numba_naive"))
    for variant in (rows, naive):
        prove(store, variant)
    raced = [(naive, 1.0, source_hash(naive)), (rows, 2.0, "0" * 16 if changed else source_hash(rows))]
    timed = [Row(variant=v.name, source=source, status="passed", samples_ms=[ms] * 3) for v, ms, source in raced]
    about = {"params": {}, "protocol": "cpu-warm", "threads": 2, "controls": {}, "roofline": {}}
    store.add_run(Run(op="layer_norm", workload=STEP, dims={"N": B * T, "C": NANO.channels}, rows=timed, **about))
    assert ("layer_norm" in chooser(store).without_champion(parse_kernels("best"))) == changed
    others = ",".join(f"{op}=numpy" for op in sorted({op for op, _ in chooser(store).calls} - {"layer_norm"}))
    choice = choose(store, f"best,{others}")["layer_norm", ""]
    assert (choice.variant, choice.reason) == (naive, f"the fastest of {STEP}, which has no valid champion")


def test_an_op_whose_variants_all_failed_is_not_raced_again_and_again(store):
    for variant in TABLE.variants["adamw"].values():
        prove(store, variant, status="failed")
    assert "adamw" not in chooser(store).without_champion(parse_kernels("best"))
    assert choose(store, "best,matmul=numpy")["adamw", "wte"].reason.startswith("slow: nothing is proven here")


def test_champions_that_call_blas_have_an_alternative_set_of_one_thread_pool(store):
    blas, packed = (TABLE.variant("matmul", n) for n in ("numpy_blas", "numba_packed"))
    flat = TABLE.variant("adamw", "numba_fused")
    for variant in (blas, packed, flat):
        prove(store, variant)
    known = chooser(store)
    champions = {key: Choice(known.table.variant(key[0], "numpy"), "") for key in known.calls}
    champions |= {key: Choice(blas, "") for key in known.calls if key[0] == "matmul"} | {("adamw", "wte"): Choice(flat, "")}
    alternative = known.without_blas(parse_kernels("best"), champions)
    assert {alternative[key].variant for key in alternative if key[0] == "matmul"} == {packed}
    assert alternative["adamw", "wte"].variant is flat
    assert alternative["attention", ""].variant.is_reference
    named = known.without_blas(parse_kernels("matmul/head=numpy_blas"), champions)
    assert named["matmul", "head"].variant is blas
    assert known.without_blas(parse_kernels("best"), alternative) is None
    assert known.without_blas(parse_kernels("numpy"), champions) is None


def test_cuda_means_the_highest_rung_that_is_proven_in_the_simulator(store):
    on_sim = chooser(store, device="sim")
    for op in {op for op, _ in on_sim.calls}:
        for variant in TABLE.variants[op].values():
            if variant.device == "cuda":
                prove(store, variant, device="sim")
    assert on_sim.unproven_on_gpu() == []
    chosen = on_sim.choose(parse_kernels("cuda"))
    assert {c.variant.backend for c in chosen.values()} == {"cuda"}
    assert "cuda_naive" not in {chosen[key].variant.name for key in chosen if key[0] == "layer_norm"}


def test_what_the_simulator_proved_is_no_proof_on_a_gpu(store):
    variant = TABLE.variant("layer_norm", "cuda_naive")
    prove(store, variant, device="sim")
    assert "layer_norm" not in chooser(store, device="sim").unproven_on_gpu()
    assert "layer_norm" in chooser(store, device="cuda").unproven_on_gpu()
    with pytest.raises(EvidenceError, match="--device cuda"):
        chooser(store, device="cuda").choose(parse_kernels("cuda,layer_norm=cuda_naive"))


@pytest.mark.parametrize(
    ("kernels", "device", "message"),
    [
        ("cuda", "cpu", "--device sim"),
        ("numba", "sim", "--kernels cuda"),
        ("cuda,layer_norm=numba_rows", "sim", "layer_norm/numba_rows does not run"),
        ("best,layer_norm=cuda_naive", "cpu", "layer_norm/cuda_naive does not run"),
    ],
)
def test_kernels_of_another_device_are_refused(kernels, device, message, store):
    with pytest.raises(RequestError, match=message):
        chooser(store, device=device).choose(parse_kernels(kernels))


def test_a_champion_that_a_race_refuted_is_not_chosen_and_not_to_be_had_by_name(store):
    blas = TABLE.variant("matmul", "numpy_blas")
    prove(store, blas)
    dims = chooser(store).calls["matmul", "qkv"].dims
    store.write_champions([crown(blas, f"{STEP}/qkv", dims)])
    assert choose(store, "best")["matmul", "qkv"].variant is blas
    about = {"op": "matmul", "variant": blas.name, "source": source_hash(blas), "contract": contract_hash(blas.op)}
    store.add_evidence(Evidence(**about, status="wrong", gate="race", note="y is wrong"))
    prove(store, blas)
    assert choose(store, "best")["matmul", "qkv"].variant is not blas
    with pytest.raises(EvidenceError, match="revoked until its source changes"):
        choose(store, "numpy,matmul=numpy_blas")
