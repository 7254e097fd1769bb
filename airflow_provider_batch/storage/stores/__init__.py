"""One module for each kind of store: how it reads with a version, writes on a condition, and names its errors."""

from __future__ import annotations

from airflow_provider_batch.storage.stores.registry import is_of_a_client, meaning_of, store_of
from airflow_provider_batch.storage.stores.store import Meaning, NoContainerError, Put, Store, Stored

__all__ = ["Meaning", "NoContainerError", "Put", "Store", "Stored", "is_of_a_client", "meaning_of", "store_of"]
