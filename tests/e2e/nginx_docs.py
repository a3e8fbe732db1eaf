# SPDX-License-Identifier: MIT
"""The configurations of docs/nginx.md, with other addresses in them.

with nginx(configuration("uwsgi_pass", "127.0.0.1:3031")) as n:
    assert n.get().status == 200
"""

import pathlib
import re

__all__ = ["configuration"]

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "nginx.md"
UPSTREAM = re.compile(r"^upstream app \{\n.*?^\}\n", re.M | re.DOTALL)
SERVER = re.compile(r"unix:/run/app/(?:app|one|two)\.sock")


def configuration(way: str, *addresses: str) -> str:
    """What the page shows for "uwsgi_pass" or "proxy_pass".

    With several addresses: as the page shows it for a restart.
    """
    blocks = re.findall(
        r"^```nginx\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.DOTALL
    )
    (text,) = [block for block in blocks if f"    {way} " in block]
    if len(addresses) > 1:
        (both,) = [block for block in blocks if "server {" not in block]
        assert UPSTREAM.search(text)
        text = UPSTREAM.sub(lambda _: both, text)
    assert len(SERVER.findall(text)) == len(addresses)
    places = iter(addresses)
    return SERVER.sub(lambda _: next(places), text)
