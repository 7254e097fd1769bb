"""The answers of each endpoint: a module declares `ANSWERS`, the endpoints and their answer format."""
