"""Raw rows into clean splits."""
