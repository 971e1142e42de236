"""Scoring a trained cell on the evaluation splits."""
