"""Landing any batch, whoever submitted it."""
