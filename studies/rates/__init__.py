"""Study: does `train.learning_rate: auto` find what a sweep would find? Run by `make rates`."""
