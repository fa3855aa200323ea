"""The problems that a variant is asked: their dims, their values, and which of them get the expensive checks."""
