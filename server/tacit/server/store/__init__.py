"""The store: suggestions, events, adapters, aliases, runs in one SQLite file. Touches that file, its backups and the quarantine.

`Store` (store.py) is what the server uses; tables.py says what is kept. Wire types are never tables.
"""
