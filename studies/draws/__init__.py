"""Whole grids of params files in memory, over draws of their tasks' rows."""
