"""PTX: text to modules of kernels of basic blocks, with control flow and liveness.

Language: PTX ISA 8.0, https://docs.nvidia.com/cuda/parallel-thread-execution/.
"""

from simulator.ptx.dataflow import bits_read, definitions_and_uses
from simulator.ptx.model import (
    BITS,
    SINK,
    Address,
    Block,
    Immediate,
    Instruction,
    Kernel,
    Location,
    Module,
    Negated,
    Operand,
    Pair,
    Parameter,
    Register,
    Special,
    Symbol,
    Variable,
    Vector,
    registers_of,
)
from simulator.ptx.parser import parse

__all__ = [
    "BITS",
    "SINK",
    "Address",
    "Block",
    "Immediate",
    "Instruction",
    "Kernel",
    "Location",
    "Module",
    "Negated",
    "Operand",
    "Pair",
    "Parameter",
    "Register",
    "Special",
    "Symbol",
    "Variable",
    "Vector",
    "bits_read",
    "definitions_and_uses",
    "parse",
    "registers_of",
]
