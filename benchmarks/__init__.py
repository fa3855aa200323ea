"""Measurements of whole training steps, too long for the suite."""
