"""From a Fisher table to a plan: criteria, search, methods."""
