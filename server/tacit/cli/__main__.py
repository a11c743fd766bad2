"""`python -m tacit.cli`: the `tacit` command where the script is not on the path. Nothing else."""

from tacit.cli import main

main()
