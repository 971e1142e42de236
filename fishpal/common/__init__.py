"""What every room uses: errors, kinds, checks of one value, writing and reading files."""
