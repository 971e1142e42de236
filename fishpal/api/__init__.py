"""From labelled texts in memory to a trained model, without params.yaml or artifacts."""
