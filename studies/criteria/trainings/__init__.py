"""Making the study's lines: inputs, training, measuring, keeping."""
