"""The files that a run writes: the saved model and its folder."""
