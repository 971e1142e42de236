"""Which look's weights to keep, and dropout on or off: what the defaults of training rest on."""
