"""The process in which a variant is called: its memory, its confinement, its state, and the client that asks it."""
