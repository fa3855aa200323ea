"""A CUDA device in software: CUDA C++ becomes PTX by clang, then vector code of the host, which is run and checked.

It stands alone: numpy, llvmlite, clang and the standard library.
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
