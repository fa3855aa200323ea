"""Tools for CUDA variants: NVIDIA's compiler, resources, data sheets, advice, planted bugs, and the check of a real GPU."""
