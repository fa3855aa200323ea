"""A training step as a program: its calls, one arena for all memory, the calls bound to variants, and initial weights."""
