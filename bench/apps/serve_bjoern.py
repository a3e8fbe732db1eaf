# SPDX-License-Identifier: MIT
"""Starts bjoern, which has no command line, on hello: serve_bjoern.py PORT."""

import sys

import bjoern
from hello import application

if __name__ == "__main__":
    bjoern.run(application, "127.0.0.1", int(sys.argv[1]))
