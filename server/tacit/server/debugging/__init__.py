"""Fixes that are checked before they are shown, explanations, chat. Touches the engine and tools that check; stores nothing."""
