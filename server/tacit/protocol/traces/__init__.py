"""Stack traces of seven languages, read from text by `reading.read`. Pure: the standard library, and no other part of Tacit."""
