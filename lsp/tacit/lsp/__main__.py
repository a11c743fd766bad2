"""`python -m tacit.lsp`: the language server. Nothing else."""

import sys

from tacit.lsp.main import main

sys.exit(main(sys.argv[1:]))
