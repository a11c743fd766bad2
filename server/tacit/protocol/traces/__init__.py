"""Stack traces of seven languages and the errors of their compilers, read from text by `reading.read`.

Pure: the standard library, and no other part of Tacit."""
