"""Pretrained encoders: their types, loading, places where modules attach."""
