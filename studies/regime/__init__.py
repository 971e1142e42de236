"""The thesis's regime: thousands of rows, a thousand updates, every kind at its best rate there."""
