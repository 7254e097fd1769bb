"""Landing the results of any batch."""
