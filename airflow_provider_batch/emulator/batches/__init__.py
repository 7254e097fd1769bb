"""Batches in the emulator: creation, validation, life cycle, execution, and what is stored of them."""
