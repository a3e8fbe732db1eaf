# SPDX-License-Identifier: MIT
"""A Flask application, served: routes, sessions, uploads, streams, errors."""

import contextlib
import hashlib
import http.cookies
import json
from collections.abc import Iterator

import pytest
from harness import Server, parallel, server

pytest.importorskip("flask")

APP = """
    import hashlib

    import flask
    import greenloop

    application = flask.Flask(__name__)
    application.secret_key = "not a secret"

    class TooBad(Exception):
        pass

    @application.get("/")
    def index():
        return "<h1>Index</h1>"

    @application.get("/hello/<name>/<int:times>")
    def hello(name, times):
        return flask.render_template_string(
            "{% for _ in range(n) %}Hello {{ name }}! {% endfor %}",
            name=name, n=times)

    @application.get("/args")
    def args():
        return flask.jsonify(flask.request.args.to_dict(flat=False))

    @application.post("/form")
    def form():
        return flask.jsonify(flask.request.form.to_dict(flat=False))

    @application.post("/json")
    def json():
        return {"sum": sum(flask.request.get_json()["numbers"])}

    @application.get("/count")
    def count():
        flask.session["count"] = flask.session.get("count", 0) + 1
        return str(flask.session["count"])

    @application.post("/upload")
    def upload():
        file = flask.request.files["file"]
        digest = hashlib.sha256(file.read()).hexdigest()
        return {"name": file.filename, "digest": digest,
                "note": flask.request.form["note"]}

    @application.post("/raw")
    def raw():
        total = 0
        while piece := flask.request.stream.read(10_000):
            total += len(piece)
        return str(total)

    @application.get("/stream")
    def stream():
        @flask.stream_with_context
        def rows():
            for n in range(5):
                greenloop.sleep(0.01)
                yield f"{flask.request.args['who']} {n}\\n"
        return flask.Response(rows(), mimetype="text/plain")

    @application.get("/file")
    def file():
        return flask.send_file(__file__, mimetype="text/x-python")

    @application.get("/download")
    def download():
        return flask.send_file(__file__, as_attachment=True, etag="e1")

    @application.get("/local/<name>")
    def local(name):
        flask.g.name = name
        greenloop.sleep(0.05)
        return f"{flask.g.name} {flask.request.path}"

    @application.get("/redirect")
    def redirect():
        return flask.redirect(flask.url_for("hello", name="you", times=1))

    @application.get("/absolute")
    def absolute():
        return flask.url_for("index", _external=True)

    @application.get("/too-bad")
    def too_bad():
        raise TooBad("handled")

    @application.get("/teapot")
    def teapot():
        flask.abort(418)

    @application.get("/bug")
    def bug():
        raise LookupError("not handled")

    @application.errorhandler(TooBad)
    def on_too_bad(error):
        return f"sorry: {error}", 409

    @application.errorhandler(404)
    def on_404(error):
        return flask.jsonify(missing=flask.request.path), 404

    @application.after_request
    def after(response):
        response.headers["X-After"] = "yes"
        return response

    @application.teardown_request
    def teardown(error):
        if "torn" in flask.request.args:
            print("torn down", flask.request.args["torn"], flush=True)
"""


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, "--loop", request.param, allow_traceback=True) as running:
        yield running


@pytest.mark.smoke
def test_routes(s: Server) -> None:
    answer = s.get("/")
    assert (answer.status, answer.text) == (200, "<h1>Index</h1>")
    assert answer.headers["X-After"] == "yes"
    assert s.get("/hello/%C3%A9ve/2").text == "Hello \xe9ve! Hello \xe9ve! "
    assert s.get("/args?a=1&a=2&b=%20").text == '{"a":["1","2"],"b":[" "]}\n'
    assert s.request("HEAD", "/").body == b""
    assert s.request("DELETE", "/").status == 405
    options = s.request("OPTIONS", "/form").headers["Allow"]
    assert set(options.split(", ")) == {"POST", "OPTIONS"}


def test_forms_and_json(s: Server) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = s.request("POST", "/form", b"a=1&b=%C3%A9&a=2", headers)
    assert json.loads(answer.text) == {"a": ["1", "2"], "b": ["\xe9"]}
    answer = s.request("POST", "/form", iter([b"a=", b"1&b=2"]), headers)
    assert json.loads(answer.text) == {"a": ["1"], "b": ["2"]}
    headers = {"Content-Type": "application/json"}
    answer = s.request("POST", "/json", b'{"numbers": [1, 2]}', headers)
    assert json.loads(answer.text) == {"sum": 3}
    assert s.request("POST", "/json", b"{", headers).status == 400


def test_sessions(s: Server) -> None:
    cookie = ""
    for n in range(1, 4):
        answer = s.get("/count", {"Cookie": cookie} if cookie else {})
        assert answer.text == str(n)
        jar = http.cookies.SimpleCookie(answer.headers["Set-Cookie"])
        cookie = f"session={jar['session'].value}"
    assert s.get("/count").text == "1"


def test_uploads(s: Server) -> None:
    content = bytes(range(256)) * 20_000
    body = (
        b'--frontier\r\nContent-Disposition: form-data; name="note"\r\n\r\n'
        b"a note\r\n"
        b'--frontier\r\nContent-Disposition: form-data; name="file"; '
        b'filename="data.bin"\r\n\r\n' + content + b"\r\n--frontier--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=frontier"}
    pieces = [body[n : n + 999_983] for n in range(0, len(body), 999_983)]
    for sent in (body, iter(pieces)):
        answer = s.request("POST", "/upload", sent, headers)
        assert json.loads(answer.text) == {
            "name": "data.bin",
            "digest": hashlib.sha256(content).hexdigest(),
            "note": "a note",
        }
    assert s.request("POST", "/raw", content).text == str(len(content))
    assert s.request("POST", "/raw", iter(pieces)).text == str(len(body))


def test_streams_and_files(s: Server) -> None:
    answer = s.get("/stream?who=you&torn=stream")
    assert answer.text == "".join(f"you {n}\n" for n in range(5))
    assert answer.headers["Transfer-Encoding"] == "chunked"
    s.wait_for("torn down stream")
    source = (s.directory / "app.py").read_bytes()
    answer = s.get("/file")
    assert answer.body == source
    assert answer.headers["Content-Length"] == str(len(source))
    answer = s.get("/download", {"Range": "bytes=10-19"})
    assert (answer.status, answer.body) == (206, source[10:20])
    answer = s.get("/download", {"If-None-Match": '"e1"'})
    assert (answer.status, answer.body) == (304, b"")


def test_locals_belong_to_their_request(s: Server) -> None:
    answers = parallel(12, lambda n: s.get(f"/local/{n}").text)
    assert answers == [f"{n} /local/{n}" for n in range(12)]


def test_links(s: Server) -> None:
    answer = s.get("/redirect")
    assert (answer.status, answer.headers["Location"]) == (302, "/hello/you/1")
    answer = s.get("/absolute", {"Host": "example.org:1234"})
    assert answer.text == "http://example.org:1234/"


def test_errors(s: Server) -> None:
    with contextlib.closing(s.client()) as client:
        for path, status, text in (
            ("/too-bad", 409, "sorry: handled"),
            ("/nowhere", 404, '{"missing":"/nowhere"}\n'),
        ):
            client.request("GET", path)
            response = client.getresponse()
            assert (response.status, response.read()) == (
                status,
                text.encode(),
            )
    assert s.get("/teapot").status == 418
    answer = s.get("/bug?torn=bug")
    assert answer.status == 500
    assert "Internal Server Error" in answer.text
    s.wait_for("LookupError: not handled")
    s.wait_for("torn down bug")


def test_mounted() -> None:
    options = ("--mount", "/shop=app.py", "--manage-script-name")
    with server(None, *options, files={"app.py": APP}) as s:
        assert s.get("/shop/").text == "<h1>Index</h1>"
        location = s.get("/shop/redirect").headers["Location"]
        assert location == "/shop/hello/you/1"
        assert s.get("/").status == 404
