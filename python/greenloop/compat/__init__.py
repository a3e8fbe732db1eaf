# SPDX-License-Identifier: MIT
"""What older or synchronous programs expect of Python and its libraries."""
