"""HTTP below the client: construction of the SDK, bounds on every answer, uploads, lenient JSON."""
