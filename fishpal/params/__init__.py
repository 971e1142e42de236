"""params.yaml as checked, immutable objects."""
