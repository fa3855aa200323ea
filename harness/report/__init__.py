"""Pages and tables of proofs and races: boards, ladders, HTML, the sum of a training step."""
