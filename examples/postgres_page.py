# SPDX-License-Identifier: MIT
"""A page out of PostgreSQL, through asyncpg and a pool of connections.

    pip install asyncpg
    DSN=postgresql://localhost/postgres greenloop --asyncio 100 \
        --http-socket :9090 --wsgi-file examples/postgres_page.py

http://localhost:9090/ searches the settings of that PostgreSQL, so any
database will do.  The pool is opened before the server listens and closed
when the last request is done; a hundred requests share its connections, and
a request that waits for one, or for its rows, lets the others run.
"""

import html
import os
import urllib.parse

import asyncpg
import greenloop

DSN = os.environ.get("DSN", "postgresql://localhost/postgres")
QUERY = """
    SELECT name, current_setting(name) AS value, short_desc
    FROM pg_settings
    WHERE strpos(lower(name || ' ' || short_desc), lower($1)) > 0
    ORDER BY name
    LIMIT 50
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Settings of PostgreSQL</title>
<style>
  body {{ max-width: 50rem; margin: 2rem auto; padding: 0 1rem;
         font-family: system-ui, sans-serif; line-height: 1.5; }}
  input, button {{ font: inherit; padding: .4rem .6rem; }}
  dt {{ margin-top: 1rem; font-weight: 600; }}
  dd {{ margin: 0; }}
</style>
<h1>Settings of PostgreSQL</h1>
<form>
  <label>About <input name="about" value="{about}" autofocus></label>
  <button>Search</button>
</form>
<p>{count} found
<dl>
{rows}
</dl>
</html>
"""
ROW = "<dt>{name}<dd><code>{value}</code><dd>{short_desc}"

pool = None


@greenloop.on_worker_start
async def open_pool():
    global pool
    pool = await asyncpg.create_pool(DSN, min_size=1, max_size=8)


@greenloop.on_worker_stop
async def close_pool():
    await pool.close()


def show(row):
    return ROW.format(**{k: html.escape(v) for k, v in row.items()})


def application(environ, start_response):
    query = environ["QUERY_STRING"]
    asked = urllib.parse.parse_qs(query, keep_blank_values=True)
    # PostgreSQL's text has no NUL.
    about = asked.get("about", ["connections"])[0].replace("\0", "")
    # What a visitor types is an argument of the query, never part of it.
    rows = greenloop.await_(pool.fetch(QUERY, about), timeout=10)
    page = PAGE.format(
        about=html.escape(about),
        count=len(rows),
        rows="\n".join(map(show, rows)),
    ).encode()
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(page))),
    ]
    start_response("200 OK", headers)
    return [page]
