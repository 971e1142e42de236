"""What was measured to fix defaults; each study says how to run it."""
