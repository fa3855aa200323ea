"""Assembles proven variants into a GPT-2 training run."""
