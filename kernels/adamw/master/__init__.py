"""Variants of the AdamW update on master weights."""
