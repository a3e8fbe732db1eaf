# SPDX-License-Identifier: MIT
"""The options of the command line: the one table.

Parsing (options.py), `--help` and docs/options.md (option_help.py) all read
OPTIONS.  The engine's own options (those with `engine=`) keep their default
and range in C; they are asked for here and never repeated.  Names are
uWSGI's where uWSGI has the option.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from typing import Any

__all__ = [
    "GROUPS",
    "OPTIONS",
    "REFUSALS",
    "Kind",
    "Option",
    "Refusal",
    "dashed",
    "engine_rows",
]


class Kind(enum.Enum):
    """How the value of an option is written and read."""

    FLAG = enum.auto()  # takes no value
    INT = enum.auto()
    KIB = enum.auto()  # an integer, for 1024 bytes each
    OCTAL = enum.auto()  # permission bits
    SECONDS = enum.auto()  # a decimal fraction is allowed
    TEXT = enum.auto()
    CHOICE = enum.auto()
    MAPPING = enum.auto()  # /prefix=target


GROUPS = (
    "Listening",
    "Application",
    "Concurrency and the loop",
    "Limits",
    "Timeouts",
    "WebSockets",
    "Static files",
    "Logging",
    "General",
    "Accepted for compatibility",
)
(
    LISTENING,
    APPLICATION,
    CONCURRENCY,
    LIMITS,
    TIMEOUTS,
    WEBSOCKETS,
    STATIC,
    LOGGING,
    GENERAL,
    COMPATIBILITY,
) = GROUPS


@dataclasses.dataclass(frozen=True)
class Option:
    """One row of the table.

    name      without the dashes; the one that messages use
    group     heading under which --help lists it
    kind      how its value is read
    help      a phrase: what the option does
    aliases   other names; one letter makes a short option
    metavar   what --help calls the value
    field     of Settings; empty if nothing there changes
    repeat    the field is a list, each use adds to it
    optional  the value may be left out
    bare      what it is then; empty changes nothing
    constant  what a flag stores
    choices   the values of a CHOICE
    minimum   the least value of a number that is not the engine's
    target    what a MAPPING leads to
    engine    names of the engine's options that the value goes to
    """

    name: str
    group: str
    kind: Kind
    help: str
    aliases: tuple[str, ...] = ()
    metavar: str = ""
    field: str = ""
    repeat: bool = False
    optional: bool = False
    bare: str = ""
    constant: bool = True
    choices: tuple[str, ...] = ()
    minimum: int = 0
    target: str = "application"
    engine: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    @property
    def scale(self) -> int:
        """From the option's unit to the engine's: seconds become ms."""
        return {Kind.SECONDS: 1000, Kind.KIB: 1024}.get(self.kind, 1)


OPTIONS: tuple[Option, ...] = (
    Option(
        "http-socket",
        LISTENING,
        Kind.TEXT,
        "serve HTTP on this address: :9090 (every IPv4 address), "
        "host:port, [::1]:port, /path of a Unix socket, @name of an "
        "abstract one, or fd://N of an inherited socket; port 0 takes a "
        "free port; may be repeated",
        aliases=("http",),
        metavar="ADDR",
        field="http_sockets",
        repeat=True,
    ),
    Option(
        "https-socket",
        LISTENING,
        Kind.TEXT,
        "serve HTTPS on this address, with this certificate (PEM files) or "
        "that of --certfile; clients may, with !CA must, show one that CA "
        "has signed; may be repeated",
        aliases=("https",),
        metavar="ADDR[,CERT,KEY[,CIPHERS[,[!]CA]]]",
        field="https_sockets",
        repeat=True,
    ),
    Option(
        "certfile",
        LISTENING,
        Kind.TEXT,
        "the certificate of each --https-socket that names none, with its "
        "chain (PEM)",
        aliases=("ssl-certfile",),
        metavar="FILE",
        field="certfile",
    ),
    Option(
        "keyfile",
        LISTENING,
        Kind.TEXT,
        "its key (PEM); without this option it is in the --certfile",
        aliases=("ssl-keyfile",),
        metavar="FILE",
        field="keyfile",
    ),
    Option(
        "ca-certs",
        LISTENING,
        Kind.TEXT,
        "who signs the certificates of its clients (PEM)",
        aliases=("ssl-ca-certs",),
        metavar="FILE",
        field="ca_certs",
    ),
    Option(
        "client-certificates",
        LISTENING,
        Kind.CHOICE,
        "whether a client must show one that --ca-certs has signed, or may "
        "have none (default required)",
        metavar="required|optional",
        field="client_certificates",
        choices=("required", "optional"),
    ),
    Option(
        "ciphers",
        LISTENING,
        Kind.TEXT,
        "its ciphers of TLS 1.2, in OpenSSL's words (those of TLS 1.3 are "
        "fixed)",
        aliases=("ssl-ciphers",),
        metavar="LIST",
        field="ciphers",
    ),
    Option(
        "ssl-context",
        LISTENING,
        Kind.TEXT,
        "in place of --certfile: an ssl.SSLContext of your own, or a "
        "function that makes one, which SIGHUP calls again",
        metavar="MODULE:NAME",
        field="ssl_context",
    ),
    Option(
        "sni",
        LISTENING,
        Kind.TEXT,
        "a further certificate, for clients that ask for this host name or "
        "for one that *.domain stands for; may be repeated",
        metavar="NAME CERT,KEY",
        field="sni",
        repeat=True,
    ),
    Option(
        "socket",
        LISTENING,
        Kind.TEXT,
        "serve the uwsgi protocol on this address, as nginx speaks it with "
        "uwsgi_pass; may be repeated",
        aliases=("uwsgi-socket", "s"),
        metavar="ADDR",
        field="uwsgi_sockets",
        repeat=True,
    ),
    Option(
        "trusted-proxies",
        LISTENING,
        Kind.TEXT,
        "believe what proxies at these addresses say of their clients: "
        "IP addresses and networks, and unix for whoever connects to a Unix "
        "socket; nobody is trusted unless named; may be repeated",
        metavar="NETWORK[,...]",
        field="trusted_proxies",
        repeat=True,
    ),
    Option(
        "forwarded-headers",
        LISTENING,
        Kind.TEXT,
        "the header fields of trusted proxies that are believed, which must "
        "be fields that they all write themselves: x-forwarded-for and "
        "x-forwarded-proto unless given, or of x-forwarded-for, -proto, "
        "-host, -port, -ssl, or forwarded alone; may be repeated",
        metavar="NAME[,...]",
        field="forwarded_headers",
        repeat=True,
    ),
    Option(
        "enable-proxy-protocol",
        LISTENING,
        Kind.FLAG,
        "connections on all sockets come from trusted proxies alone and "
        "begin with a header of the PROXY protocol, version 1 or 2; others "
        "are closed",
        aliases=("http-enable-proxy-protocol",),
        engine=("proxy_protocol",),
    ),
    Option(
        "listen",
        LISTENING,
        Kind.INT,
        "connections that the kernel keeps waiting for us; the kernel "
        "itself cuts this at net.core.somaxconn",
        aliases=("l",),
        metavar="N",
        field="backlog",
        minimum=1,
    ),
    Option(
        "chmod-socket",
        LISTENING,
        Kind.OCTAL,
        "permissions of the Unix sockets' files, from the moment they "
        "exist; 666 without a value; else they follow the umask",
        aliases=("C",),
        metavar="MODE",
        field="socket_mode",
        optional=True,
        bare="666",
    ),
    Option(
        "chown-socket",
        LISTENING,
        Kind.TEXT,
        "owner and group of the Unix sockets' files, by name or number",
        metavar="USER[:GROUP]",
        field="socket_owner",
    ),
    Option(
        "umask",
        LISTENING,
        Kind.OCTAL,
        "permissions that files made by this process do not get",
        metavar="MODE",
        field="umask",
    ),
    Option(
        "vacuum",
        LISTENING,
        Kind.FLAG,
        "remove the Unix sockets' files at the end",
        field="vacuum",
    ),
    Option(
        "reuse-port",
        LISTENING,
        Kind.FLAG,
        "let other processes of this user listen on the same port, each "
        "with a part of the connections (SO_REUSEPORT)",
        field="reuse_port",
    ),
    Option(
        "freebind",
        LISTENING,
        Kind.FLAG,
        "listen on addresses that the machine does not have yet",
        field="freebind",
    ),
    Option(
        "so-keepalive",
        LISTENING,
        Kind.FLAG,
        "let the kernel find out that a silent client is gone (TCP "
        "keep-alive, as its net.ipv4.tcp_keepalive_* say)",
        field="so_keepalive",
    ),
    Option(
        "defer-accept",
        LISTENING,
        Kind.FLAG,
        "let the kernel keep a TCP connection until its client has sent "
        "something, or for a second (TCP_DEFER_ACCEPT)",
        field="defer_accept",
    ),
    Option(
        "socket-sndbuf",
        LISTENING,
        Kind.INT,
        "what the kernel buffers of a connection's output; 0: its own "
        "choice, which grows with need",
        metavar="BYTES",
        field="socket_sndbuf",
    ),
    Option(
        "socket-rcvbuf",
        LISTENING,
        Kind.INT,
        "the same of its input",
        metavar="BYTES",
        field="socket_rcvbuf",
    ),
    Option(
        "wsgi-file",
        APPLICATION,
        Kind.TEXT,
        "load the application from this file",
        aliases=("file",),
        metavar="FILE",
        field="wsgi_file",
    ),
    Option(
        "module",
        APPLICATION,
        Kind.TEXT,
        "load the application from this module; pkg.mod:name also names "
        "the callable",
        aliases=("wsgi", "w"),
        metavar="MODULE",
        field="module",
    ),
    Option(
        "callable",
        APPLICATION,
        Kind.TEXT,
        "name of the callable in the file or module",
        metavar="NAME",
        field="callable",
    ),
    Option(
        "mount",
        APPLICATION,
        Kind.MAPPING,
        "serve another application under this prefix; APP is file.py, "
        "file.py:name or pkg.mod:name; may be repeated",
        metavar="/PREFIX=APP",
        field="mounts",
        repeat=True,
    ),
    Option(
        "manage-script-name",
        APPLICATION,
        Kind.FLAG,
        "move the longest mounted prefix from PATH_INFO to SCRIPT_NAME",
        field="manage_script_name",
    ),
    Option(
        "chdir",
        APPLICATION,
        Kind.TEXT,
        "change to this directory before anything is loaded",
        metavar="DIR",
        field="chdir",
    ),
    Option(
        "pythonpath",
        APPLICATION,
        Kind.TEXT,
        "look for modules here first; may be repeated",
        aliases=("pp",),
        metavar="DIR",
        field="pythonpath",
        repeat=True,
    ),
    Option(
        "virtualenv",
        APPLICATION,
        Kind.TEXT,
        "use the packages of this virtual environment, which must be one "
        "of the same Python version",
        aliases=("venv", "home", "pyhome", "H"),
        metavar="DIR",
        field="virtualenv",
    ),
    Option(
        "legacy-coroutines",
        APPLICATION,
        Kind.FLAG,
        "bring back @asyncio.coroutine, a `yield from`-able "
        "aiohttp.request() and its read_and_close()",
        field="legacy_coroutines",
    ),
    Option(
        "asyncio",
        CONCURRENCY,
        Kind.INT,
        "cores: how many requests run at the same time; more of them wait "
        "their turn",
        metavar="N",
        engine=("cores",),
    ),
    Option(
        "loop",
        CONCURRENCY,
        Kind.CHOICE,
        "asyncio's own loop or uvloop; auto takes uvloop if it is installed",
        field="loop",
        choices=("auto", "asyncio", "uvloop"),
    ),
    Option(
        "running-loop",
        CONCURRENCY,
        Kind.CHOICE,
        "whether a request sees a running loop, as it does in uWSGI",
        field="running_loop",
        choices=("hidden", "visible"),
    ),
    Option(
        "cancel-on-disconnect",
        CONCURRENCY,
        Kind.FLAG,
        "throw greenloop.ClientDisconnected into a waiting request whose "
        "client went away",
        engine=("cancel_on_disconnect",),
    ),
    Option(
        "buffer-size",
        LIMITS,
        Kind.INT,
        "request line and header fields together, or the variables of a "
        "uwsgi packet; more is answered 431",
        aliases=("b",),
        metavar="BYTES",
        engine=("head_max_bytes",),
    ),
    Option(
        "limit-request-line",
        LIMITS,
        Kind.INT,
        "request line; a longer one is answered 414",
        metavar="BYTES",
        engine=("line_max_bytes",),
    ),
    Option(
        "limit-request-fields",
        LIMITS,
        Kind.INT,
        "number of header fields; more are answered 431",
        metavar="N",
        engine=("fields_max",),
    ),
    Option(
        "limit-post",
        LIMITS,
        Kind.INT,
        "request body; a larger one is answered 413, 0 is no limit",
        metavar="BYTES",
        engine=("body_max_bytes",),
    ),
    Option(
        "max-connections",
        LIMITS,
        Kind.INT,
        "connections that are open at a time; an idle one makes room for a "
        "new one, else that waits in the backlog; 0 is no limit",
        metavar="N",
        engine=("max_connections",),
    ),
    Option(
        "max-connections-reject",
        LIMITS,
        Kind.FLAG,
        "answer 503 to connections beyond --max-connections, instead of "
        "leaving them in the backlog",
        engine=("max_connections_reject",),
    ),
    Option(
        "max-queued",
        LIMITS,
        Kind.INT,
        "requests that wait for a core; further ones are answered 503; 0 "
        "is no limit",
        metavar="N",
        engine=("max_queued",),
    ),
    Option(
        "queue-timeout",
        TIMEOUTS,
        Kind.SECONDS,
        "how long a request may wait for a core; then it is answered 503; "
        "0 is no limit",
        metavar="SECONDS",
        engine=("queue_timeout_ms",),
    ),
    Option(
        "http-headers-timeout",
        TIMEOUTS,
        Kind.SECONDS,
        "for a whole request head, from its first byte",
        metavar="SECONDS",
        engine=("head_timeout_ms",),
    ),
    Option(
        "http-keepalive",
        TIMEOUTS,
        Kind.SECONDS,
        "how long a connection may be idle between two requests; 0 closes "
        "it after each response",
        metavar="SECONDS",
        optional=True,
        engine=("keepalive_timeout_ms",),
    ),
    Option(
        "socket-timeout",
        TIMEOUTS,
        Kind.SECONDS,
        "how long reading a body or writing a response may make no progress",
        aliases=("z",),
        metavar="SECONDS",
        engine=("body_timeout_ms", "write_timeout_ms"),
    ),
    Option(
        "graceful-timeout",
        TIMEOUTS,
        Kind.SECONDS,
        "how long requests may go on after the server was told to stop",
        metavar="SECONDS",
        field="graceful_timeout",
    ),
    Option(
        "websockets-max-size",
        WEBSOCKETS,
        Kind.KIB,
        "a message that a client sends, in KiB; a larger one closes its "
        "WebSocket with code 1009",
        metavar="KIB",
        engine=("websocket_message_max_bytes",),
    ),
    Option(
        "websockets-max-unsent",
        WEBSOCKETS,
        Kind.KIB,
        "what one slow client may leave unsent, in KiB, before a sender "
        "has to wait for it",
        metavar="KIB",
        engine=("websocket_output_max_bytes",),
    ),
    Option(
        "websockets-ping-freq",
        WEBSOCKETS,
        Kind.SECONDS,
        "of silence after which a client is sent a ping; 0 sends none",
        metavar="SECONDS",
        engine=("websocket_ping_interval_ms",),
    ),
    Option(
        "websockets-pong-tolerance",
        WEBSOCKETS,
        Kind.SECONDS,
        "for a sign of life after that ping; then the client is gone",
        metavar="SECONDS",
        engine=("websocket_pong_timeout_ms",),
    ),
    Option(
        "websockets-no-compression",
        WEBSOCKETS,
        Kind.FLAG,
        "never agree to permessage-deflate",
        constant=False,
        engine=("websocket_deflate",),
    ),
    Option(
        "websockets-window-bits",
        WEBSOCKETS,
        Kind.INT,
        "compression windows of 2^N bytes for each direction of a "
        "WebSocket that compresses, from 9 to 15: memory against size",
        metavar="N",
        engine=("websocket_window_bits",),
    ),
    Option(
        "static-map",
        STATIC,
        Kind.MAPPING,
        "serve what is beneath this prefix from a folder, or one path from "
        "a file; what is not there is the application's; may be repeated, "
        "and is tried in this order",
        metavar="/PREFIX=DIR",
        field="static_maps",
        repeat=True,
        target="folder",
    ),
    Option(
        "static-map2",
        STATIC,
        Kind.MAPPING,
        "the same, from the folder DIR/PREFIX",
        metavar="/PREFIX=DIR",
        field="static_maps2",
        repeat=True,
        target="folder",
    ),
    Option(
        "check-static",
        STATIC,
        Kind.TEXT,
        "serve every path that names a file in this folder; may be repeated",
        metavar="DIR",
        field="check_static",
        repeat=True,
    ),
    Option(
        "static-index",
        STATIC,
        Kind.TEXT,
        "in a folder, serve the file of this name; may be repeated",
        metavar="NAME",
        field="static_indexes",
        repeat=True,
    ),
    Option(
        "static-safe",
        STATIC,
        Kind.TEXT,
        "follow symbolic links that lead into this folder, too; may be "
        "repeated",
        metavar="DIR",
        field="static_safe",
        repeat=True,
    ),
    Option(
        "static-skip-ext",
        STATIC,
        Kind.TEXT,
        "leave paths that end like this, say in .py, to the application; "
        "may be repeated",
        metavar="END",
        field="static_skip_ext",
        repeat=True,
    ),
    Option(
        "static-max-age",
        STATIC,
        Kind.INT,
        "have clients keep files for so long: Cache-Control: max-age",
        metavar="SECONDS",
        field="static_max_age",
    ),
    Option(
        "mime-file",
        STATIC,
        Kind.TEXT,
        "add media types from this file, one `type extension ...` a line; "
        "may be repeated",
        aliases=("mimefile",),
        metavar="FILE",
        field="mime_files",
        repeat=True,
    ),
    Option(
        "x-sendfile",
        STATIC,
        Kind.TEXT,
        "send the file in this folder that a response's X-Sendfile header "
        "names, in place of its body; may be repeated",
        metavar="DIR",
        field="x_sendfile",
        repeat=True,
    ),
    Option(
        "disable-logging",
        LOGGING,
        Kind.FLAG,
        "write no access log; errors are still logged",
        aliases=("L",),
        field="access_log",
        constant=False,
    ),
    Option(
        "access-log-format",
        LOGGING,
        Kind.CHOICE,
        "a line like uWSGI's, or the combined format of Apache",
        field="access_log_format",
        choices=("uwsgi", "combined"),
    ),
    Option(
        "logto",
        LOGGING,
        Kind.TEXT,
        "append the log and the access log to this file",
        metavar="FILE",
        field="logto",
    ),
    Option("version", GENERAL, Kind.FLAG, "print the version and exit"),
    Option(
        "help", GENERAL, Kind.FLAG, "print this text and exit", aliases=("h",)
    ),
    Option(
        "greenlet",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: every request runs in a greenlet",
    ),
    Option(
        "need-app",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: without an application the server ends with status 22",
    ),
    Option(
        "enable-threads",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: Python threads always run",
        aliases=("T",),
    ),
    Option(
        "single-interpreter",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: all applications share one interpreter",
        aliases=("i",),
    ),
    Option(
        "lazy-apps",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: the worker itself loads the applications",
    ),
    Option(
        "ignore-sigpipe",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: SIGPIPE never ends the server",
    ),
    Option(
        "die-on-term",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: SIGTERM stops the server gracefully",
    ),
    Option(
        "tcp-nodelay",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: TCP_NODELAY is set on every connection",
    ),
    Option(
        "no-defer-accept",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: connections are accepted before they send",
    ),
    Option(
        "close-on-exec",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: no program that is started inherits a descriptor",
    ),
    Option(
        "static-gzip-all",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: file.gz and file.br are served in place of file",
    ),
    Option(
        "honour-range",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: ranges of static files are served",
    ),
    Option(
        "thunder-lock",
        COMPATIBILITY,
        Kind.FLAG,
        "has no effect here: one process accepts",
    ),
)


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Options of uWSGI that are not there, and the sentence saying so."""

    names: tuple[str, ...]
    sentence: str


REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        ("processes", "workers", "p"),
        "is not available yet: Greenloop runs one worker process; start "
        "several behind the same proxy meanwhile.",
    ),
    Refusal(
        ("master", "M"),
        "is not available yet: Greenloop runs one worker process; let "
        "systemd or a similar program restart it meanwhile.",
    ),
    Refusal(
        ("cheaper", "cheaper-algo", "cheaper-initial", "cheaper-step"),
        "is not available yet: there is one worker process, which never "
        "grows or shrinks in number.",
    ),
    Refusal(
        ("threads",),
        "is not available: requests run in cores on one thread; raise "
        "--asyncio instead.",
    ),
    Refusal(
        ("async", "gevent", "ugreen"),
        "is not available: asyncio is the only loop engine; give the "
        "number of cores with --asyncio.",
    ),
    Refusal(
        ("emperor",),
        "is not available yet: start one Greenloop for each application.",
    ),
    Refusal(
        ("ini", "yaml", "yml", "json", "xml", "config", "x", "y", "j"),
        "is not available yet: configuration files cannot be read so far; "
        "give the options on the command line.",
    ),
    Refusal(
        ("fastcgi-socket", "scgi-socket", "raw-socket"),
        "is not available: use --http-socket and let the proxy speak HTTP.",
    ),
    Refusal(
        ("http2", "https2", "suwsgi-socket"),
        "is not available: use --https-socket, and let a proxy in front of "
        "it speak HTTP/2.",
    ),
    Refusal(
        ("http11-socket",),
        "is not needed: --http-socket keeps connections alive itself.",
    ),
    Refusal(
        ("stats", "stats-server", "stats-http"),
        "is not available yet: there is no statistics server so far.",
    ),
    Refusal(
        ("daemonize", "daemonize2", "d"),
        "is not available: run Greenloop in the foreground under systemd "
        "or a similar program.",
    ),
    Refusal(
        ("uid", "gid", "chroot"),
        "is not available yet: start Greenloop as the user it shall run as.",
    ),
    Refusal(
        (
            "static-expires",
            "static-expires-mtime",
            "static-expires-type",
            "static-expires-type-mtime",
            "static-expires-filename",
            "static-expires-regexp",
            "static-expires-uri",
            "static-expires-path-info",
        ),
        "is not available: --static-max-age is for all files.",
    ),
    Refusal(
        ("static-gzip", "static-gzip-dir", "static-gzip-ext"),
        "is not needed: file.gz and file.br are looked for beside every "
        "file; leave it out.",
    ),
    Refusal(
        ("static-cache-paths", "static-cache-paths-name", "offload-threads"),
        "is not needed: files are sent without a core, and beside all else; "
        "leave it out.",
    ),
    Refusal(
        ("harakiri", "harakiri-graceful-timeout", "harakiri-verbose", "t"),
        "is not available yet: a request may take as long as it needs.",
    ),
    Refusal(
        ("max-requests", "R", "max-worker-lifetime", "reload-on-rss"),
        "is not available yet: the worker process is never replaced.",
    ),
    Refusal(
        ("touch-reload", "py-autoreload", "py-auto-reload"),
        "is not available yet: stop Greenloop and start it again to load "
        "new code.",
    ),
    Refusal(
        ("reload-mercy", "worker-reload-mercy"),
        "is not needed: --graceful-timeout says how long running requests "
        "may take when the server stops.",
    ),
    Refusal(
        ("exit-on-reload", "reload-on-exception", "no-orphans"),
        "is not needed: there is no master, and nothing is reloaded; leave "
        "it out.",
    ),
    Refusal(
        ("py-call-osafterfork", "py-call-uwsgi-fork-hooks"),
        "is not needed: the server does not fork; leave it out.",
    ),
    Refusal(
        ("pidfile", "pidfile2", "safe-pidfile", "safe-pidfile2"),
        "is not available: systemd and its kind know the process "
        "themselves, and a shell has its number in $!.",
    ),
    Refusal(
        (
            "procname",
            "procname-prefix",
            "procname-prefix-spaced",
            "procname-append",
            "procname-master",
            "auto-procname",
        ),
        "is not available: the process keeps its name; leave it out.",
    ),
    Refusal(
        ("env", "unenv"),
        "is not available: set the environment before the start, with env "
        "in a shell or Environment= of systemd.",
    ),
    Refusal(
        ("max-fd", "limit-as", "limit-nproc"),
        "is not available: set the limit before the start, with ulimit in a "
        "shell or LimitNOFILE= and its kind of systemd.",
    ),
    Refusal(
        ("cpu-affinity",),
        "is not available: set it at the start, with taskset in a shell or "
        "CPUAffinity= of systemd.",
    ),
    Refusal(
        ("set", "set-placeholder", "set-ph", "S"),
        "is not available: there are no placeholders; write the value where "
        "it is used.",
    ),
    Refusal(
        ("strict",),
        "is not needed: an unknown option is always an error; leave it out.",
    ),
    Refusal(
        ("import", "pyimport", "py-import", "python-import", "shared-import"),
        "is not available: import the module in the application's file.",
    ),
    Refusal(
        ("route", "route-host", "route-uri", "route-run", "route-if"),
        "is not available: choose by path with --mount, or in the proxy in "
        "front.",
    ),
    Refusal(
        ("add-header", "del-header"),
        "is not available: set headers in the application, or in the proxy "
        "in front.",
    ),
    Refusal(
        ("post-buffering", "post-buffering-bufsize"),
        "is not needed: a body is read when the application reads it; leave "
        "it out.",
    ),
    Refusal(
        ("http-timeout", "http-connect-timeout"),
        "is not available: there is no router; clients are limited by "
        "--socket-timeout and --http-headers-timeout.",
    ),
    Refusal(
        ("http-websockets", "http-chunked-input", "http-auto-chunked"),
        "is not needed: WebSockets and chunks are served always; leave it "
        "out.",
    ),
    Refusal(
        ("logger", "logger-req", "req-logger", "log-route", "log-req-route"),
        "is not available: the log goes to standard error, or with --logto "
        "to a file.",
    ),
    Refusal(
        ("log-reopen", "log-truncate", "log-maxsize", "touch-logreopen"),
        "is not available yet: rotate the file of --logto by copying and "
        "truncating it.",
    ),
    Refusal(
        (
            "log-4xx",
            "log-5xx",
            "log-zero",
            "log-slow",
            "log-big",
            "log-sendfile",
            "log-ioerror",
        ),
        "is not available: the access log has every request, or none with "
        "--disable-logging.",
    ),
    Refusal(
        ("memory-report", "m"),
        "is not available: the log tells nothing of memory; leave it out.",
    ),
    Refusal(
        ("log-format", "logformat"),
        "is not available yet: choose one of the two formats with "
        "--access-log-format.",
    ),
    Refusal(
        ("log-x-forwarded-for",),
        "is not needed: behind --trusted-proxies the access log has the "
        "client's address.",
    ),
    Refusal(
        ("plugin", "plugins"),
        "is not needed: there are no plugins, all parts are built in; "
        "leave it out.",
    ),
    Refusal(
        ("abstract-socket",),
        "is not needed: write @name for an abstract address.",
    ),
    Refusal(
        ("shared-socket",),
        "is not needed: give the address to --http-socket itself.",
    ),
    Refusal(
        ("map-socket",),
        "is not available: there is one worker, which serves every socket.",
    ),
    Refusal(
        ("so-send-timeout",),
        "is not needed: --socket-timeout says how long a write may make no "
        "progress.",
    ),
    Refusal(
        ("tcp-fast-open", "tcp-fast-open-client"),
        "is not available: leave it out; connections then open as usual.",
    ),
    Refusal(
        ("mule", "mules", "spooler", "cron", "cache2", "queue"),
        "is not available yet: there is only the worker that serves requests.",
    ),
)


@functools.cache
def engine_rows() -> dict[str, dict[str, Any]]:
    """The engine's option table: name -> its row."""
    # Imported when first asked for, so that this module can be read (by
    # tools that write documentation, say) without the extension.
    from greenloop import _core

    return {row["name"]: row for row in _core.options()}


def dashed(name: str) -> str:
    """The name as it is written on the command line."""
    return f"-{name}" if len(name) == 1 else f"--{name}"
