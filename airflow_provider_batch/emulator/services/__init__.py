"""
Answer in the manner of another service: its addresses, limits, ids and forms.

What the service takes is read from the same table as the provider reads (`api/services.py`); how it writes its objects
is in one module for each service whose objects differ from OpenAI's. All of it is taken from documentation, and no
service confirms it: see `docs/services.md`.
"""
