"""HTTP below the clients: construction of the SDK, limits on every response, uploads."""
