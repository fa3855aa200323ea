"""The files that a run writes into its folder: settings, log, checkpoints, and the saved model."""
