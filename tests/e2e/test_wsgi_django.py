# SPDX-License-Identifier: MIT
"""A small Django project, served: ORM, forms, streams, files, errors."""

import contextlib
import hashlib
import http.cookies
import json
import re
from collections.abc import Iterator

import pytest
from harness import Answer, Server, parallel, server

pytest.importorskip("django")

SETTINGS = """
    import pathlib

    HERE = pathlib.Path(__file__).parent
    SECRET_KEY = "not a secret"
    DEBUG = False
    ALLOWED_HOSTS = ["*"]
    ROOT_URLCONF = "views"
    INSTALLED_APPS = [
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        "notes",
    ]
    MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    TEMPLATES = [{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [HERE / "templates"],
    }]
    DATABASES = {"default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": HERE / "notes.sqlite3",
    }}
    DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    USE_TZ = True
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
    }
    FILE_UPLOAD_MAX_MEMORY_SIZE = 1000
"""
MODELS = """
    from django.db import models

    class Note(models.Model):
        title = models.CharField(max_length=40, unique=True)
        text = models.TextField()
"""
TEMPLATE = """
    <form method="post">{% csrf_token %}{{ form.as_p }}</form>
    {% for note in notes %}<li>{{ note.title }}: {{ note.text }}</li>
    {% endfor %}
"""
VIEWS = """
    import hashlib

    import greenloop
    from django import forms
    from django.contrib.auth import authenticate, login
    from django.db import transaction
    from django.http import (
        FileResponse,
        HttpResponse,
        HttpResponseRedirect,
        JsonResponse,
        StreamingHttpResponse,
    )
    from django.shortcuts import get_object_or_404, render
    from django.urls import path, reverse
    from django.views.decorators.csrf import csrf_exempt
    from notes.models import Note

    class NoteForm(forms.ModelForm):
        class Meta:
            model = Note
            fields = ["title", "text"]

    def index(request):
        form = NoteForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            form.save()
            return HttpResponseRedirect(reverse("index"))
        status = 422 if form.errors else 200
        notes = Note.objects.order_by("title")
        page = {"form": form, "notes": notes}
        return render(request, "index.html", page, status=status)

    def note(request, title):
        found = get_object_or_404(Note, title=title)
        return JsonResponse({"text": found.text})

    def slow(request, title):
        with transaction.atomic():
            before = Note.objects.count()
        greenloop.sleep(0.05)
        return HttpResponse(f"{title} {before} {Note.objects.count()}")

    def stream(request):
        def rows():
            for note in Note.objects.order_by("title").iterator():
                greenloop.sleep(0.01)
                yield note.title + "\\n"
        return StreamingHttpResponse(rows(), content_type="text/plain")

    def file(request):
        return FileResponse(open(__file__, "rb"), as_attachment=True)

    @csrf_exempt
    def upload(request):
        file = request.FILES["file"]
        digest = hashlib.sha256()
        for piece in file.chunks():
            digest.update(piece)
        return JsonResponse({
            "kind": type(file).__name__, "name": file.name,
            "digest": digest.hexdigest(), "note": request.POST["note"],
        })

    @csrf_exempt
    def enter(request):
        user = authenticate(
            request, username=request.POST["name"],
            password=request.POST["password"])
        if user is None:
            return HttpResponse("who?", status=403)
        login(request, user)
        return HttpResponse("welcome")

    def who(request):
        request.session["visits"] = request.session.get("visits", 0) + 1
        return HttpResponse(
            f"{request.user.get_username()} {request.session['visits']}")

    def meta(request):
        return JsonResponse({
            "address": request.build_absolute_uri(),
            "remote": request.META["REMOTE_ADDR"],
            "header": request.headers["X-Some-Thing"],
        })

    def bug(request):
        raise LookupError("not handled")

    urlpatterns = [
        path("", index, name="index"),
        path("note/<str:title>", note),
        path("slow/<str:title>", slow),
        path("stream", stream),
        path("file", file),
        path("upload", upload),
        path("enter", enter),
        path("who", who),
        path("meta", meta),
        path("bug", bug),
    ]
"""
WSGI = """
    import os

    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()

    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
    User.objects.create_user("ann", password="secret")
"""
FILES = {
    "settings.py": SETTINGS,
    "views.py": VIEWS,
    "notes/__init__.py": "",
    "notes/models.py": MODELS,
    "templates/index.html": TEMPLATE,
    "project.py": WSGI,
}
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    options = ("--module", "project", "--loop", request.param)
    with server(None, *options, files=FILES, allow_traceback=True) as running:
        yield running


def cookie(answer: Answer, name: str) -> str:
    jar = http.cookies.SimpleCookie()
    for line in answer.headers.get_all("Set-Cookie", []):
        jar.load(line)
    return f"{name}={jar[name].value}"


def post_note(s: Server, title: str, text: str) -> Answer:
    """Fills in the form as a browser would, with its token."""
    page = s.get("/")
    [token] = re.findall(
        r'name="csrfmiddlewaretoken" value="(\w+)"', page.text
    )
    body = f"csrfmiddlewaretoken={token}&title={title}&text={text}"
    headers = {**URLENCODED, "Cookie": cookie(page, "csrftoken")}
    return s.request("POST", "/", body.encode(), headers)


def test_forms_and_database(s: Server) -> None:
    answer = post_note(s, "a-form", "gr%C3%BCn%26blau")
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    assert "<li>a-form: gr\xfcn&amp;blau</li>" in s.get("/").text
    assert s.get("/note/a-form").text == '{"text": "gr\\u00fcn&blau"}'
    answer = post_note(s, "a-form", "again")
    assert answer.status == 422
    assert "already exists" in answer.text
    assert s.get("/note/nothing").status == 404


def test_csrf_is_checked(s: Server) -> None:
    answer = s.request("POST", "/", b"title=x&text=y", URLENCODED)
    assert answer.status == 403


def test_requests_at_once_and_the_database(s: Server) -> None:
    answers = parallel(10, lambda n: s.get(f"/slow/{n}").text.split())
    assert [name for name, _, _ in answers] == [str(n) for n in range(10)]
    assert {before == after for _, before, after in answers} == {True}


def test_streams_and_files(s: Server) -> None:
    for title in ("s1", "s2"):
        assert post_note(s, title, "x").status == 302
    answer = s.get("/stream")
    assert {"s1", "s2"} <= set(answer.text.split())
    assert answer.headers["Transfer-Encoding"] == "chunked"
    source = (s.directory / "views.py").read_bytes()
    answer = s.get("/file")
    assert answer.body == source
    assert answer.headers["Content-Length"] == str(len(source))
    assert 'filename="views.py"' in answer.headers["Content-Disposition"]
    answer = s.request("HEAD", "/file")
    assert answer.headers["Content-Length"] == str(len(source))


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_uploads(s: Server, size: int) -> None:
    content = b"\0\r\n--" * (size // 5)
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="note"\r\n\r\n'
        b"a note\r\n"
        b'--edge\r\nContent-Disposition: form-data; name="file"; '
        b'filename="data.bin"\r\nContent-Type: x/y\r\n\r\n'
        + content
        + b"\r\n--edge--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    answer = s.request("POST", "/upload", body, headers)
    kind = "TemporaryUploadedFile" if size > 1000 else "InMemoryUploadedFile"
    assert json.loads(answer.text) == {
        "kind": kind,
        "name": "data.bin",
        "digest": hashlib.sha256(content).hexdigest(),
        "note": "a note",
    }


def test_sessions_and_users(s: Server) -> None:
    answer = s.request("POST", "/enter", b"name=ann&password=no", URLENCODED)
    assert (answer.status, answer.text) == (403, "who?")
    answer = s.request(
        "POST", "/enter", b"name=ann&password=secret", URLENCODED
    )
    assert (answer.status, answer.text) == (200, "welcome")
    headers = {"Cookie": cookie(answer, "sessionid")}
    with contextlib.closing(s.client()) as client:
        for n in range(1, 4):
            client.request("GET", "/who", headers=headers)
            assert client.getresponse().read() == f"ann {n}".encode()
    assert s.get("/who").text == " 1"


def test_request_data(s: Server) -> None:
    headers = {"Host": "example.org", "X-Some-Thing": "a"}
    assert s.get("/meta?b=c", headers).text == (
        '{"address": "http://example.org/meta?b=c", '
        '"remote": "127.0.0.1", "header": "a"}'
    )


def test_errors(s: Server) -> None:
    answer = s.get("/bug")
    assert answer.status == 500
    assert "Server Error (500)" in answer.text
    s.wait_for("LookupError: not handled")
    assert s.get("/nowhere").status == 404
    assert s.get("/").status == 200
