"""Training the study's cells."""
