"""What the parts of Tacit say to each other: wire types, errors, the client, redaction, where files live.

May touch: pydantic, httpx, the standard library. Must not touch: any other part of Tacit. Import the submodules
directly; this package imports nothing, so that the language server starts fast.
"""
