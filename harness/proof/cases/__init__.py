"""The problems of a proof: their dims, their values, and the choice of the problems that get the expensive checks."""
