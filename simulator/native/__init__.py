"""What compiled kernels call, and the scheduler that runs them: C++ that clang compiles once, for the machine at hand."""
