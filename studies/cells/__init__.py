"""What the studies' trainings share: study.yaml, rows, encoder, how they end and are kept."""
