"""Files on any fsspec file system: read and write whole, list, delete, move, and write on a condition."""

from __future__ import annotations

from airflow_provider_batch.storage.location import Location, Resolver, Stored, finished_name, resolve

__all__ = ["Location", "Resolver", "Stored", "finished_name", "resolve"]
