"""Names of a file where no checker is at hand: what it declares, imports and uses, and what the workspace knows of that.

`reading` and `rules` are pure (tree-sitter), `words` are lists made by the languages themselves, `packages` and `looking` read
files.
"""
