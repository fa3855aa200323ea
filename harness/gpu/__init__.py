"""What NVIDIA's own compiler says of the CUDA variants, without a GPU: do they compile, and what do they need."""
