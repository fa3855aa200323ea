"""Kernels to machine code: PTX instructions to LLVM IR text, one function per basic block, and the objects' cache on disk."""
