"""What the studies' trainings share: rows, encoder, how they end and where they are kept."""
