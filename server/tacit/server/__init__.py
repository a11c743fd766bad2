"""The server: one per machine or team. Owns the store, the engine, the adapters and the schedule; never loads torch."""
