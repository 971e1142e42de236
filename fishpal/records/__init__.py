"""What one stage writes and another reads; no torch."""
