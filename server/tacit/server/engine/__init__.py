"""Engines: what runs the model. The only place that knows an engine's dialect; the rest speaks `engine.interface`."""
