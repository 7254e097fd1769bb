"""Batches in the emulator: creation, validation, life cycle, execution and storage."""
