"""Faults struck at a small pipeline, and what becomes of them."""
