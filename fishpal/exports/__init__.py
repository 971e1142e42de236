"""Leaving fishpal: models as folders that other libraries load."""
