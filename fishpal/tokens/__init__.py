"""Clean splits into tokenised ones."""
