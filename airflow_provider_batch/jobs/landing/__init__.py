"""Landing: the results of ended batches become parts of the table, until the table is whole."""
