"""Mutation testing of the battery: bugs that are planted in the project's own CUDA variants."""
