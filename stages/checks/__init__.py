"""What `make report` looks at before any stage runs; no stages of the pipeline."""
