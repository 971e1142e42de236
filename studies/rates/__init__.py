"""Does `train.learning_rate: auto` find what a sweep would find? `python -m studies.rates`."""
