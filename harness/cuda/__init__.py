"""Analysis of CUDA variants without a GPU: NVRTC builds, resources, data sheets, advice; and the comparison with a GPU."""
