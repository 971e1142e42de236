"""The smaller modules that put out most nearly what trained ones do."""
