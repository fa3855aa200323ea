"""Benchmarks of whole training steps. They take too long for the test suite."""
