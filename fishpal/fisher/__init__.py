"""Fisher information of every candidate, from exact per-example gradients."""
