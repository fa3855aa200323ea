"""The right outputs of a problem: torch's, the reference's, the tolerance of each element, and fake kernels that must fail."""
