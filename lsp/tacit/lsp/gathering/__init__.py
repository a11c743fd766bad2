"""What of the workspace the model is shown besides the file itself: found in the background, chosen within a budget.

Only the workspace's own files are read, never one that is ignored; nothing is written, nothing is sent from here.
"""
