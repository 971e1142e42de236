"""A frozen encoder with modules and a head: batches, logits, trained folders."""
