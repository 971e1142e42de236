"""Training a plan, and going on with a killed training."""
