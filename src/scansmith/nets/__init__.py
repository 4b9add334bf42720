"""Networks, in 2D and 3D; they know tensors and nothing else."""
