"""Races proven variants: one process per contestant, controls, clock, statistics, roofline."""
