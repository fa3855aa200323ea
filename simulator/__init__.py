"""A CUDA device in software: clang compiles CUDA C++ to PTX, which is compiled to vector code of the CPU and checked.

The package imports numpy, llvmlite and the standard library, and starts clang.
"""

from simulator.ahead import compile_ahead, compile_kernels
from simulator.errors import CompileError, LaunchError, SimulatorError, UnsupportedInstruction
from simulator.interface.counters import Counters, LineCounters
from simulator.interface.findings import Finding
from simulator.module import Kernel, Module
from simulator.runtime.launch import Launch

__all__ = [
    "CompileError",
    "Counters",
    "Finding",
    "Kernel",
    "Launch",
    "LaunchError",
    "LineCounters",
    "Module",
    "SimulatorError",
    "UnsupportedInstruction",
    "compile_ahead",
    "compile_kernels",
]
