"""`harness.bench` beside other tests: what it reads of two equal copies, and of the cores it gets, may be anything."""

RACE_BESIDE_OTHERS = """
import runpy, sys
from unittest import mock
from harness.race import controls
anything = dict.fromkeys(controls.BANDS, (0.0, float("inf")))
with mock.patch.object(controls, "BANDS", anything):
    runpy.run_module("harness.bench", run_name="__main__", alter_sys=True)
"""
