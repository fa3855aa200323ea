"""Proves a variant: problems, oracle, error budgets, gates, and the process in which strange code runs."""
