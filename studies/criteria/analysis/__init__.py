"""What the trained cells say: statistics, tables, verdicts."""
