"""Data-parallel training: the interface of a process to the other processes of its run."""
