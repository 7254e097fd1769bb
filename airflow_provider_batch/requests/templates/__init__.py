"""Templates of request bodies: placeholders, their values, and the rendered request lines."""
