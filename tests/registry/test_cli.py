"""``python -m registry`` answers people and machines, and a wrong name ends with exit code 2."""

import json
import signal

from registry.__main__ import main
from registry.cli import guarded


def test_json_is_one_document_with_reasons_for_what_is_missing(tmp_path, capsys):
    (tmp_path / "layer_norm").mkdir()
    (tmp_path / "layer_norm" / "numba_typo.py").write_text("def (")
    assert main(["--op", "layer_norm", "--json", "--kernels-path", str(tmp_path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    forward, backward = answer["ops"]
    assert (forward["op"], forward["direction"], backward["direction"]) == ("layer_norm", "forward", "backward")
    states = {v["variant"]: (v["available"], v["reason"]) for v in forward["variants"]}
    assert states["numba_rows"] == (True, "")
    assert states["numba_typo"][0] is False
    assert "SyntaxError" in states["numba_typo"][1]


def test_people_get_a_table(capsys):
    assert main(["--op", "layer_norm"]) == 0
    assert "numba_rows" in capsys.readouterr().out


def test_an_unknown_op_is_one_line_and_exit_code_2(capsys):
    assert main(["--op", "layernrm"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: unknown op 'layernrm'; did you mean 'layer_norm'")
    assert said.count("\n") == 1


def test_what_tidies_up_after_ctrl_c_is_not_cut_short_by_the_next(capsys):
    tidied = []

    def body():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            tidied.append(True)
        return 0

    outside = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        assert guarded(body) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, outside)
    assert tidied
    assert capsys.readouterr().err == "interrupted; nothing more was written\n"
