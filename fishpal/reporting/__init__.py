"""From the cells of the grid to the report."""
