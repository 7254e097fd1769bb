"""AIBrix, as its release 0.8.0 answered: a batch is `scheduling` before it runs, and ids are bare UUIDs."""

from __future__ import annotations

from airflow_provider_batch.emulator.services.manners import Manners, Shown


def batch(shown: Shown) -> Shown:
    """
    Return a Batch object as AIBrix shows it.

    :param shown: Batch object in OpenAI's form.
    """
    return {**shown, "status": "scheduling"} if shown["status"] == "validating" else shown


MANNERS = Manners(batch=batch)
