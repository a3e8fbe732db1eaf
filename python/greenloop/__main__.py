# SPDX-License-Identifier: MIT
"""`python -m greenloop`: the command line without its script."""

import sys

from greenloop.cli import main

sys.exit(main())
