"""The functions that compiled kernels call, the scheduler and the checker: C++ that clang compiles once for this machine."""
