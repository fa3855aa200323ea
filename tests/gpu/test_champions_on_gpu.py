"""Champions of a (stand-in) GPU appear on the boards of this GPU and train on it, and on no other device."""

import pytest

from harness import bench, explain, leaderboard
from registry.fingerprint import source_hash
from registry.machine import machine_key
from registry.records import Champion, Store
from registry.table import discover
from tests.gpu.proofs import first_rungs, prove
from tests.trainer.tiny import PICO
from trainer import run
from trainer.program.template import StepTemplate
from trainer.selection.kernel_request import parse_kernels
from trainer.selection.kernel_set import Chooser

pytestmark = pytest.mark.usefixtures("gpu")
FEW = "--variant=cuda_naive,cuda_vector"


def crown(results, workload, variant, protocol, **changes):
    """Add a made-up champion of adamw to the stored champions."""
    store, proven = Store(results, machine_key("cuda")), discover().variant("adamw", variant)
    fields = {
        "op": "adamw",
        "workload": workload,
        "dims": {"K": 64},
        "variant": variant,
        "device": "cuda",
        "protocol": protocol,
    }
    fields |= changes
    store.write_champions([*store.champions(), Champion(**fields, source=source_hash(proven), threads=1, median_ms=1.0)])


@pytest.mark.usefixtures("quick")
def test_the_champion_of_a_race_on_a_gpu_trains_there(tmp_path, capsys):
    results = f"--results={tmp_path}"
    first_rungs(tmp_path, "cuda")
    prove(tmp_path, "cuda", "adamw", "cuda_vector")
    race = ["--op=adamw", "--device=cuda", "--protocol=cuda-graph", "--dims=K=64", "--budget=1s", FEW, results]
    assert bench.main(race) == 0, capsys.readouterr()
    [crowned] = Store(tmp_path, machine_key("cuda")).champions()
    capsys.readouterr()

    assert leaderboard.main(["--op=adamw", "--device=cuda", results]) == 0
    assert "cuda_vector" in capsys.readouterr().out
    assert leaderboard.main(["--device=cuda", "--check", results]) == 0
    assert explain.main(["--op=adamw", "--device=cuda", results]) == 0
    shown = capsys.readouterr().out
    assert crowned.variant in shown
    assert "cuda-graph" in shown

    assert run.main(["--device=cuda", "--model=gpt2-nano", "--plan", results]) == 0
    output = capsys.readouterr()
    [row] = [line for line in output.out.splitlines() if " adamw " in line]
    assert crowned.variant in row
    assert "champion of" in row
    assert "so the highest proven rung is taken: attention, " in output.err
    assert "python -m harness.bench --device cuda" in output.err


@pytest.mark.parametrize(("device", "hint"), [("cuda", "--device cuda"), ("cpu", "--device cpu")])
def test_a_board_says_whose_races_are_missing(tmp_path, capsys, device, hint):
    crown(tmp_path, "w", "cuda_naive", "cuda-graph")
    results = f"--results={tmp_path}"
    assert leaderboard.main(["--op=adamw", f"--device={device}", results]) == 1  # crowned without a race: no board
    assert hint in capsys.readouterr().err
    if device == "cpu":
        assert explain.main(["--op=adamw", results]) == 1
        assert hint in capsys.readouterr().err


@pytest.mark.parametrize("command", [leaderboard, explain])
@pytest.mark.parametrize(("device", "message"), [("sim", "has no time"), ("cudo", "did you mean 'cuda'")])
def test_only_devices_with_races_have_boards(tmp_path, capsys, command, device, message):
    assert command.main(["--op=adamw", f"--device={device}", f"--results={tmp_path}"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("protocol", "chosen"), [("cuda-graph", "cuda_vector"), ("cuda-cold", "cuda_naive")])
def test_the_champion_is_the_one_raced_as_it_will_run(tmp_path, protocol, chosen):
    first_rungs(tmp_path, "cuda")
    prove(tmp_path, "cuda", "adamw", "cuda_vector")
    crown(tmp_path, "w", "cuda_naive", "cuda-cold")
    crown(tmp_path, "w", "cuda_vector", "cuda-graph")
    store = Store(tmp_path, machine_key("cuda"))
    chooser = Chooser(discover(), store, StepTemplate(discover(), PICO, 2, 16), 1, "cuda", protocol)
    choices = chooser.choose(parse_kernels("best"))
    assert choices["adamw", "wte"].variant.name == chosen
    assert choices["adamw", "wte"].reason == f"champion of w on this GPU ({protocol}), the most similar shape raced here"
    assert choices["attention", ""].reason == "proven on cuda, not raced on this GPU; the highest rung"
    assert "adamw" not in chooser.without_champion(parse_kernels("best"))
    assert "attention" in chooser.without_champion(parse_kernels("cuda"))


def test_a_champion_in_bfloat16_is_no_champion_in_float32(tmp_path):
    first_rungs(tmp_path, "cuda")
    prove(tmp_path, "cuda", "adamw", "cuda_vector")
    crown(tmp_path, "w", "cuda_naive", "cuda-graph", dtype="bfloat16")
    chooser = Chooser(
        discover(), Store(tmp_path, machine_key("cuda")), StepTemplate(discover(), PICO, 2, 16), 1, "cuda", "cuda-graph"
    )
    assert "adamw" in chooser.without_champion(parse_kernels("best"))
    assert chooser.choose(parse_kernels("best"))["adamw", "wte"].variant.name == "cuda_vector"
    crown(tmp_path, "w", "cuda_naive", "cuda-graph")
    assert chooser.choose(parse_kernels("best"))["adamw", "wte"].variant.name == "cuda_naive"


def test_a_champion_of_the_gpu_is_none_of_the_simulator(tmp_path):
    first_rungs(tmp_path, "sim")
    crown(tmp_path, "w", "cuda_naive", "cuda-graph")
    chooser = Chooser(discover(), Store(tmp_path), StepTemplate(discover(), PICO, 2, 16), 1, "sim")
    assert chooser.choose(parse_kernels("best"))["adamw", "wte"].reason == "proven on sim; the highest rung"
    assert chooser.without_champion(parse_kernels("best")) == []
