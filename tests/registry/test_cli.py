"""``python -m registry`` prints a table or JSON, and a wrong name ends with exit code 2."""

import json
import signal

from registry.__main__ import main
from registry.output import guarded


def test_json_is_one_document_with_the_reasons_of_unloadable_files(tmp_path, capsys):
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


def test_the_default_output_is_a_table(capsys):
    assert main(["--op", "layer_norm"]) == 0
    assert "numba_rows" in capsys.readouterr().out


def test_an_unknown_op_is_one_line_and_exit_code_2(capsys):
    assert main(["--op", "layernrm"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: unknown op 'layernrm'; did you mean 'layer_norm'")
    assert message.count("\n") == 1


def test_a_second_ctrl_c_does_not_interrupt_the_clean_up_after_the_first(capsys):
    tidied = []

    def body():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            tidied.append(True)
        return 0

    outside = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores the signal
    try:
        assert guarded(body) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, outside)
    assert tidied
    assert capsys.readouterr().err == "interrupted; nothing more was written\n"


def test_a_lack_of_memory_is_one_line(capsys):
    def body():
        raise MemoryError("Unable to allocate 85.8 GiB for an array with shape (23040000000,)")

    assert guarded(body) == 1
    assert capsys.readouterr().err == (
        "error: not enough memory: Unable to allocate 85.8 GiB for an array with shape (23040000000,)\n"
    )
