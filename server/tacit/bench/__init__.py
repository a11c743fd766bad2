"""`tacit bench`: measurements of the real parts, printed with their goals. May import every part; changes none of their data.

Each bench works in a home of its own and leaves no process behind.
"""
