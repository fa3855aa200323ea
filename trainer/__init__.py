"""The trainer assembles proven variants into a GPT-2 training run."""
