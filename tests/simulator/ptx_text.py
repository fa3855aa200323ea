"""Small PTX kernels to test with."""

from simulator.ptx import parse

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"
REGISTERS = ".reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<19>; .reg .b64 %d<19>;"


def module(text):
    """Return the module of a text without its heading."""
    return parse(HEAD + text)


def kernel(body, parameters=".param .u64 k_x, .param .u32 k_n"):
    """Return the kernel with that body; %p, %h, %r and %d registers are declared."""
    return module(f".visible .entry k({parameters}) {{\n{REGISTERS}\n{body}\n}}").kernels["k"]


def instruction(text):
    """Return the one instruction that the text holds."""
    return kernel(text + " ret;").instructions[0]
