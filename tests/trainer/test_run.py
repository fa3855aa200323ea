"""``python -m trainer.run``: its options, its output, and one clear line for every mistake."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

from models import MODELS
from registry.fingerprint import contract_hash, source_hash
from registry.paths import ROOT
from registry.records import Champion, Evidence, Store
from registry.table import discover
from tests.house.document_check import document_of
from tests.trainer.tiny import PICO
from trainer import run, session
from trainer.program.template import StepTemplate
from trainer.selection import pick_faster_set
from trainer.state import model_file, output_folder

OPTIONS = {
    "--help",
    "-h",
    "--kernels",
    "--model",
    "--data",
    "--batch",
    "--sequence",
    "--total-batch",
    "--steps",
    "--learning-rate",
    "--threads",
    "--device",
    "--dtype",
    "--cuda-graph",
    "--no-cuda-graph",
    "--out",
    "--resume",
    "--checkpoint-every",
    "--checkpoint-minutes",
    "--keep",
    "--keep-every",
    "--seed",
    "--plan",
    "--explain",
    "--json",
    "--results",
    "--kernels-path",
}  # fmt: skip (a list of options)


def printed_json(capsys):
    """Return the JSON document on standard output."""
    return json.loads(capsys.readouterr().out)


def test_the_options_are_these():
    assert {o for action in run.parser()._actions for o in action.option_strings} == OPTIONS  # noqa: SLF001 (no public list)


def test_a_run_trains_saves_and_says_so(pico, capsys, tmp_path):
    assert run.main(pico) == 0
    shown = capsys.readouterr()
    assert "validation loss" in shown.out
    assert "unigram entropy" in shown.out
    assert "total" in shown.out
    assert "step 4/4" in shown.err
    assert (tmp_path / "out" / model_file.FILE).exists()


def test_the_json_document(pico, capsys):
    assert run.main([*pico, "--json", "--steps=6"]) == 0
    document = document_of(capsys.readouterr().out, "trainer.run", 0)
    assert document["model"] == "gpt2-pico"
    assert document["steps"] == 6
    assert set(document["kernels"].values()) == {"numpy"}
    assert len(document["train_loss"]) == 6
    assert document["val_loss"][-1] < document["val_loss"][0] - 0.5
    assert document["tokens_per_second"] > 0
    assert document["step_ms_median"] > 0
    assert document["peak_rss_mib"] > 10
    assert document["val_loss"][-1] > document["unigram_entropy"]
    assert document["sample"] == ""
    assert document["device"] == "cpu"
    assert f"{document['val_loss'][-1]:.3f} is not below the unigram entropy" in document["no_sample"]


def test_a_model_that_has_learnt_too_little_has_no_sample_and_says_how_to_get_one(pico, capsys):
    assert run.main([*pico, "--steps=3"]) == 0
    shown = capsys.readouterr().out
    [line] = [line for line in shown.splitlines() if line.startswith("no sample: ")]
    assert line.endswith("; train longer, for example with --steps 12")
    assert "sample ─" not in shown


def test_a_model_that_knows_more_than_frequencies_prints_a_sample(pico, capsys):
    assert run.main([*pico, "--steps=18", "--learning-rate=5e-2"]) == 0
    shown = capsys.readouterr().out
    assert "─ sample ─" in shown
    assert "no sample" not in shown
    assert shown.rpartition("─")[2].strip()


def test_the_saved_file_holds_the_trained_model(pico, capsys, tmp_path):
    run.main([*pico, "--json"])
    from safetensors import safe_open

    with safe_open(tmp_path / "out" / model_file.FILE, framework="numpy") as file:
        assert file.get_slice("qkvw").get_shape() == [1, 48, 16]
        about = json.loads(file.metadata()["metadata"])
    assert about["steps"] == 4
    assert about["train_loss"] == printed_json(capsys)["train_loss"][-1]


def test_the_same_seed_gives_the_same_run(pico, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "why_no_sample", lambda *_: "")
    documents = []
    for number, seed in enumerate((1, 1, 2)):
        run.main([*pico, "--json", f"--seed={seed}", f"--out={tmp_path / str(number)}"])
        documents.append(printed_json(capsys))
    assert documents[0]["train_loss"] == documents[1]["train_loss"] != documents[2]["train_loss"]
    assert documents[0]["sample"] == documents[1]["sample"] != ""


def test_plan_prints_memory_and_kernels_and_trains_nothing(pico, capsys, tmp_path):
    assert run.main([*pico, "--plan", "--json"]) == 0
    document = document_of(capsys.readouterr().out, "trainer.run --plan", 0)
    assert document["plan_mib"]["moments"] == pytest.approx(2 * document["plan_mib"]["parameters"])
    assert document["kernels"]["attention"] == "numpy"
    assert not (tmp_path / "out").exists()


def test_plan_needs_no_champions(pico, capsys):
    assert run.main([*pico, "--kernels=best", "--plan"]) == 0
    assert "no champion yet" in capsys.readouterr().err


def test_the_kernels_of_a_document_are_a_value_of_the_option(pico, capsys):
    run.main([*pico, "--plan", "--json"])
    kernels = printed_json(capsys)["kernels"]
    text = ",".join(f"{op}={variant}" for op, variant in kernels.items())
    assert run.main([*pico, f"--kernels={text}", "--plan", "--json"]) == 0
    assert printed_json(capsys)["kernels"] == kernels


def test_accumulation_counts_its_tokens(pico, capsys):
    assert run.main([*pico, "--total-batch=96", "--steps=2", "--json"]) == 0
    assert printed_json(capsys)["steps"] == 2


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the references warn of the provoked overflow
def test_a_diverged_run_saves_no_model_and_says_how_to_begin_again(pico, capsys, tmp_path):
    assert run.main([*pico, "--learning-rate=1e38"]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: step ")
    assert "first left a non-finite value" in message
    assert message.endswith("there is no checkpoint before it; start again with --learning-rate 5e+37")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["log.jsonl", "settings.toml"]


def test_a_folder_that_holds_a_model_is_refused_before_anything_is_proven(pico, capsys, tmp_path, monkeypatch):
    saved = tmp_path / "out" / model_file.FILE
    saved.parent.mkdir()
    saved.write_bytes(b"a good file")
    monkeypatch.setattr("trainer.selection.child.exit_code_of", lambda _: pytest.fail("a proof or a race was started"))
    assert run.main([*pico, "--kernels=best"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --out {saved.parent} holds model.safetensors of an earlier run; save elsewhere with --out ")
    assert saved.read_bytes() == b"a good file"
    assert list(saved.parent.iterdir()) == [saved]


def test_runs_without_out_have_a_folder_each(pico, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(output_folder, "OUT", tmp_path / "runs")
    words = [word for word in pico if not word.startswith("--out")]
    places = []
    for _ in range(3):
        assert run.main([*words, "--json", "--steps=1"]) == 0
        places.append(printed_json(capsys)["saved"])
    assert places == [str(tmp_path / "runs" / name / model_file.FILE) for name in ("gpt2-pico", "gpt2-pico-2", "gpt2-pico-3")]
    assert all(pathlib.Path(place).exists() for place in places)
    run.main(words)
    said = [line for line in capsys.readouterr().err.splitlines() if "this run saves in" in line]
    assert len(said) == 1
    assert said[0].endswith("gpt2-pico-4")


WRONG = {
    "--model=gpt2-nan": "unknown model 'gpt2-nan'; did you mean 'gpt2-nano'",
    "--kernels=bets": "unknown kernel set 'bets'; did you mean 'best'",
    "--kernels=attentoin=numpy": "unknown op 'attentoin'; did you mean 'attention'",
    "--kernels=attention=numba_flesh": "did you mean 'numba_flash'",
    "--device=cuda": "device 'cuda' is not available",
    "--device=gpu": "unknown device 'gpu'",
    "--threads=0": "--threads 0: this process may use 1 to",
    "--steps=0": "--steps 0: give a whole number from 1 up",
    "--batch=-1": "--batch -1: give a whole number from 1 up",
    "--sequence=17": "--sequence 17: gpt2-pico has a context of 16 tokens",
    "--total-batch=33": "--total-batch 33 is no multiple of batch x sequence = 2 x 16 = 32; nearest: 32 or 64",
    "--learning-rate=nan": "--learning-rate nan: give a number above 0",
    "--seed=-1": "--seed -1",
    "--data=no-such-file.txt": "no such corpus or file",
    "--batch=300": "tokens",
    "--kernels-path=/no/such/folder": "is not a folder",
    "--kernels=numba": "has fresh evidence on this machine",
}


@pytest.mark.parametrize("argument", WRONG)
def test_a_wrong_request_is_one_clear_line_and_code_2(pico, capsys, argument):
    assert run.main([*pico, argument]) == 2
    shown = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("tokenising")]
    assert len(shown) == 1, shown
    assert shown[0].startswith("error: ")
    assert WRONG[argument] in shown[0]


@pytest.mark.parametrize("size", ["100000000", "9" * 400])
def test_a_batch_that_does_not_fit_into_memory_is_one_line_with_both_sizes(pico, capsys, size):
    code = run.main([*pico, f"--batch={size}"])
    (line,) = capsys.readouterr().err.splitlines()
    if len(size) > 20:
        assert (code, line) == (2, f"error: --batch {size}: give a whole number from 1 to 2147483647")
    else:
        assert code == 1
        assert re.fullmatch(
            r"error: the run needs [\d,]+ MiB of memory and 9 MiB for checkpoints, [\d,]+ MiB are free; "
            r"choose a smaller --model, --batch or --sequence",
            line,
        )


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty"), (b"\xff\xfe", "is not UTF-8"), (b"short", "tokens")])
def test_bad_text_is_one_clear_line(pico, capsys, tmp_path, content, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    assert run.main([*pico, f"--data={path}"]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_an_unset_variable_is_no_output_folder(pico, capsys):
    assert run.main([*pico, "--out="]) == 2
    assert "'' names no folder" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_made_is_noticed_before_training(pico, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert run.main([*pico, f"--out={tmp_path / 'file' / 'out'}"]) == 2
    assert "is a file, not a folder" in capsys.readouterr().err


def test_a_broken_variant_file_is_listed_and_everything_else_goes_on(pico, capsys, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "numba_broken.py").write_text("def numba_broken(:\n")
    assert run.main([*pico, f"--kernels-path={folder}", "--steps=1"]) == 0
    shown = capsys.readouterr().err
    assert "not loadable" in shown
    assert "numba_broken.py: SyntaxError" in shown


@pytest.mark.parametrize("name", ["numba_naive", "numba_broken"])
def test_a_named_variant_whose_file_is_not_loaded_is_refused_with_the_reason(pico, capsys, tmp_path, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    text = (ROOT / "kernels" / "embedding" / "numba_naive.py").read_text()
    (folder / f"{name}.py").write_text(text if name == "numba_naive" else "raise SystemExit")
    assert run.main([*pico, f"--kernels-path={folder}", f"--kernels=numpy,embedding={name}"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: variant '{name}'")
    assert str(folder / f"{name}.py") in error
    assert ("kernels/embedding/numba_naive.py" in error) == (name == "numba_naive")


def test_a_machine_without_champions_proves_and_races_first(pico, capsys, monkeypatch):
    ran = []

    def pretend(words):
        ran.append(words[1:])
        return 1

    monkeypatch.setattr("trainer.selection.child.exit_code_of", pretend)
    assert run.main([*pico, "--kernels=best", "--json"]) == 0
    assert [words[1] for words in ran] == ["harness.verify", "harness.bench"]
    assert ran[1][ran[1].index("--workload") + 1] == "gpt2-pico-b2-t16"
    shown = capsys.readouterr()
    assert "no champion on this machine" in shown.err
    assert "failed; the run continues" in shown.err
    assert "slow: nothing is proven here" in " ".join(shown.err.replace("│", " ").split())
    assert set(json.loads(shown.out)["kernels"].values()) == {"numpy"}


def test_a_variant_without_proof_is_refused_before_the_text_is_read_and_champions_are_raced(pico, capsys, monkeypatch):
    monkeypatch.setattr("trainer.selection.child.exit_code_of", lambda _: pytest.fail("a race was started"))
    monkeypatch.setattr(session, "open_data", lambda *_, **__: pytest.fail("the text was read"))
    assert run.main([*pico, "--kernels=best,layer_norm=numba_welford"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: layer_norm/numba_welford has no fresh evidence")


def test_interrupting_the_race_is_an_interruption(pico, monkeypatch):
    monkeypatch.setattr("trainer.selection.child.exit_code_of", lambda _: 130)
    assert run.main([*pico, "--kernels=best"]) == 130


def test_the_command_itself_refuses_an_unknown_model():
    command = [sys.executable, "-m", "trainer.run", "--model", "gpt2-naon"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    known = ", ".join(sorted(MODELS)[:12])
    line = f"error: unknown model 'gpt2-naon'; did you mean 'gpt2-nano'? Known: {known}."
    assert done.stderr == f"{line} Try: python -m trainer.run --model gpt2-nano\n"
    assert done.stdout == ""


@pytest.mark.parametrize(("seconds", "chosen"), [([2.0, 1.0], "numba_packed"), ([1.0, 2.0], "numpy_blas")])
def test_real_steps_decide_between_champions_and_one_thread_pool(pico, capsys, monkeypatch, tmp_path, seconds, chosen):
    table, store = discover(), Store(tmp_path / "results")
    wanted = {"matmul": "numpy_blas"}
    for op in {op for op, _ in StepTemplate(table, PICO, 2, 16).calls_by_key()}:
        variant = table.variant(op, wanted.get(op, "numpy"))
        for proven in {variant, *(v for v in table.variants["matmul"].values() if v.name == "numba_packed" and op == "matmul")}:
            store.add_evidence(
                Evidence(
                    op=op,
                    variant=proven.name,
                    source=source_hash(proven),
                    contract=contract_hash(proven.op),
                    status="passed",
                    problems=40,
                )
            )
        dims = next(call.dims for (name, _), call in StepTemplate(table, PICO, 2, 16).calls_by_key().items() if name == op)
        crown = Champion(
            op=op, workload="w", dims=dict(dims), variant=variant.name, source=source_hash(variant), threads=1, median_ms=1.0
        )
        store.write_champions([*store.champions(), crown])
    monkeypatch.setattr(pick_faster_set, "step_seconds", lambda *_: seconds)
    assert run.main([*pico, "--kernels=best", "--steps=1", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["kernels"]["matmul"] == chosen
    assert "with the champions and" in shown.err
    swap = "\n  matmul: numpy_blas -> numba_packed (4 calls)\n"
    assert (swap in shown.err) == (chosen == "numba_packed")
