"""Files on any fsspec file system: read and write them whole, list, delete and move them, and write on a condition."""

from __future__ import annotations

from airflow_provider_batch.storage.local_files import finished_name
from airflow_provider_batch.storage.location import Location, Resolver, resolve
from airflow_provider_batch.storage.stores import Stored

__all__ = ["Location", "Resolver", "Stored", "finished_name", "resolve"]
