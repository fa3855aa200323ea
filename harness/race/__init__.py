"""Races of proven variants: one process per contestant, controls, clock, statistics, roofline."""
