"""Mutation testing of the battery: bugs are planted in the project's own CUDA variants, and the battery should find them."""
