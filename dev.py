#!/usr/bin/env python3
"""Run the product, test it, or manage it, from a bare machine with Python 3.11 or newer; see `--help`."""

import os
import sys

MINIMUM_PYTHON = (3, 11)

if __name__ == "__main__":
    # Before any import that an older Python could not read.
    if sys.version_info < MINIMUM_PYTHON:
        sys.exit("Python 3.11 or newer is needed; with uv: `uv run --no-project --python 3.11 dev.py …`.")
    if os.name != "posix":
        sys.exit("dev.py needs Linux or macOS; on Windows, run it inside WSL.")

    from devtools.command_line import main

    sys.exit(main())
