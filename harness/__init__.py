"""Proves, races and ranks: reads the registry, writes results/."""
