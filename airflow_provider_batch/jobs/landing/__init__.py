"""Landing: writes the results of ended batches to parts of the table, until the table is complete."""
