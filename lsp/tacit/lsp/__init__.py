"""The language server: one process per editor, on stdio. Imports nothing here, so that it starts fast; never loads torch."""
