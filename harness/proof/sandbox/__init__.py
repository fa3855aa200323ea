"""The process that calls variants: its memory, its confinement, its state, and the client that sends it calls."""
