"""Kernels to machine code: PTX instructions to LLVM IR text, one function per basic block, and the objects' cache on disk.

The files of this folder number sections as PTX ISA 9.0 does; `simulator.ptx` and the tests number them as PTX ISA 8.0 does.
"""
