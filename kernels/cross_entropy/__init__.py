"""The classifier's loss over a padded vocabulary, forward and backward."""
