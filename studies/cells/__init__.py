"""What the studies' trainings share: where their rows come from, and how they are kept."""
