# SPDX-License-Identifier: MIT
"""TLS: from certificate files, or a user's own code, to ssl.SSLContexts.

The C part seals and opens bytes with the SSLObject that Source.wrap() gives.
Whatever is read again makes new contexts, which replace the old ones when
all of them are there: so a CA that was taken away is trusted no more, and
neither are sessions that it opened.

The ciphers and the rules for client certificates belong to an address, and
all its host names share them.  OpenSSL does not change them when a client's
choice of a name changes the context; and if it did, a client could get
around them by the name that it chooses.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import re
import ssl
import sys
from collections.abc import Callable, Mapping
from typing import Any

from greenloop.options import Settings

__all__ = ["CertificateError", "Pair", "Plan", "Source", "custom", "plan_of"]

# What may stand in the environ.  Underscores are in use, dots may end it.
HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
# Where the name that a client asked for is kept, at the SSLObject.
NAME_ATTRIBUTE = "greenloop_name"
MOST_FILE_BYTES = 4 << 20


class CertificateError(OSError):
    """Certificates that cannot be used; str() says which and why."""

    def __init__(self, text: str) -> None:
        super().__init__(None, text)

    def __str__(self) -> str:
        return str(self.strerror)


class _EncryptedError(Exception):
    """A key asks for its password."""


# --- what is asked for -------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Pair:
    """The PEM files of a certificate, with its chain, and of its key."""

    cert: str
    key: str

    @classmethod
    def of(cls, cert: str, key: str) -> Pair:
        """Absolute: the program may change its folder before it reads."""
        return cls(os.path.abspath(cert), os.path.abspath(key))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an address offers.

    ca        certificates that a client's must be signed by; "": no client
              is asked for one
    required  a client must have one
    names     further host names; "*.example.com" stands for one more label
    """

    pair: Pair
    ciphers: str = ""
    ca: str = ""
    required: bool = False
    names: Mapping[str, Pair] = dataclasses.field(default_factory=dict)

    def context(self) -> ssl.SSLContext:
        """Reads the files.  Raises CertificateError."""
        _ignore_odd_names()
        named = {
            name: self._context_of(pair) for name, pair in self.names.items()
        }
        main = self._context_of(self.pair)
        main.sni_callback = functools.partial(_choose, named)
        return main

    def _context_of(self, pair: Pair) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        _load_pair(context, pair)
        if self.ciphers:
            try:
                context.set_ciphers(self.ciphers)
            except ssl.SSLError:
                raise CertificateError(
                    f"there is no cipher in {self.ciphers!r}"
                ) from None
        if self.ca:
            _load_authorities(context, self.ca)
            context.verify_mode = (
                ssl.CERT_REQUIRED if self.required else ssl.CERT_OPTIONAL
            )
        return context


def plan_of(text: str, settings: Settings) -> tuple[str, Plan | None]:
    """The address of an --https-socket, and its plan; None: a custom context.

    Raises CertificateError, whose text says what is expected.
    """
    address, comma, rest = text.partition(",")
    names = dict(_parse_name(name) for name in settings.sni)
    if comma:
        return address, _parse_plan(rest, names)
    if settings.certfile is None:
        return address, None
    cert = settings.certfile
    ca = settings.ca_certs
    return address, Plan(
        Pair.of(cert, settings.keyfile or cert),
        settings.ciphers,
        os.path.abspath(ca) if ca else "",
        settings.client_certificates != "optional",
        names,
    )


def _parse_plan(text: str, names: dict[str, Pair]) -> Plan:
    """Reads "cert,key[,ciphers[,ca]]"; a leading "!" of the ca requires it."""
    parts = text.split(",")
    if not 2 <= len(parts) <= 4 or not parts[0] or not parts[1]:
        raise CertificateError(
            f"expected ADDR,CERT,KEY[,CIPHERS[,[!]CA]], not {text!r} after "
            "the address"
        )
    cert, key, ciphers, ca = parts + [""] * (4 - len(parts))
    path = ca[1:] if ca.startswith("!") else ca
    if ca and not path:
        raise CertificateError("there is no file after the ! of the CA")
    return Plan(
        Pair.of(cert, key),
        ciphers,
        os.path.abspath(path) if path else "",
        ca.startswith("!"),
        names,
    )


def _parse_name(text: str) -> tuple[str, Pair]:
    """Reads "name cert,key" of --sni."""
    name, _space, rest = text.strip().partition(" ")
    parts = rest.strip().split(",")
    if len(parts) > 2:
        raise CertificateError(
            f"--sni {text}: ciphers and client certificates are those of the "
            "address, and cannot be chosen by the name"
        )
    if len(parts) != 2 or not all(parts):
        raise CertificateError(f"--sni {text}: expected NAME CERT,KEY")
    return name.lower(), Pair.of(*parts)


# --- files -------------------------------------------------------------------


def _must_hold(path: str, what: str) -> None:
    """Says in words what OpenSSL says in codes."""
    try:
        with open(path, "rb") as file:
            text = file.read(MOST_FILE_BYTES)
    except OSError as error:
        raise CertificateError(
            f"cannot read the file {path}: {error.strerror}"
        ) from None
    if b"-----BEGIN " not in text or f"{what}-----".encode() not in text:
        raise CertificateError(
            f"there is no {what} in PEM form in the file {path}"
        )


def _no_password() -> str:
    raise _EncryptedError


def _load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    _must_hold(pair.cert, "CERTIFICATE")
    _must_hold(pair.key, "PRIVATE KEY")
    try:
        # Without a function OpenSSL would ask at the terminal.
        context.load_cert_chain(pair.cert, pair.key, _no_password)
    except _EncryptedError:
        raise CertificateError(
            f"the key {pair.key} is encrypted: decrypt it with `openssl pkey "
            "-in KEY -out NEW`, or make a context of your own for "
            "--ssl-context"
        ) from None
    except OSError as error:  # ssl.SSLError is one
        why = getattr(error, "reason", None) or str(error)
        if why == "KEY_VALUES_MISMATCH":
            why = "they do not belong together"
        raise CertificateError(
            f"cannot use the certificate {pair.cert} with the key {pair.key}: "
            f"{why}"
        ) from None


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    _must_hold(path, "CERTIFICATE")
    try:
        context.load_verify_locations(path)
    except OSError as error:
        why = getattr(error, "reason", None) or str(error)
        raise CertificateError(
            f"cannot use the CA certificates {path}: {why}"
        ) from None


# --- names -------------------------------------------------------------------


def _choose(
    named: Mapping[str, ssl.SSLContext],
    connection: ssl.SSLObject,
    name: str | None,
    main: ssl.SSLContext,
) -> None:
    """Called in the handshake, with the name that the client asks for."""
    if name is None or not HOST_NAME.fullmatch(name):
        return
    name = name.lower()
    setattr(connection, NAME_ATTRIBUTE, name)
    context = named.get(name)
    if context is None:
        context = named.get("*." + name.partition(".")[2])
    if context is not None:
        connection.context = context


@functools.cache
def _ignore_odd_names() -> None:
    """A host name that is not ASCII is refused by the ssl module, which also
    prints a traceback for it: any client could fill the log."""
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        odd = isinstance(unraisable.exc_value, UnicodeDecodeError)
        if not (odd and isinstance(unraisable.object, bytes)):
            before(unraisable)

    sys.unraisablehook = hook


# --- contexts in use ---------------------------------------------------------


class Source:
    """Where the SSLObjects of a listener come from.

    make   gives a new context; raises CertificateError
    label  what its errors begin with
    late   it may only be called when modules can be imported
    """

    def __init__(
        self,
        make: Callable[[], ssl.SSLContext],
        label: str = "",
        *,
        late: bool = False,
    ) -> None:
        self.late = late
        self._make = make
        self._label = label
        self._next: ssl.SSLContext | None = None
        self._context: ssl.SSLContext | None = None

    def prepare(self) -> None:
        """Makes the next context.  Raises CertificateError."""
        try:
            self._next = self._make()
        except CertificateError as error:
            text = f"{self._label}: {error}" if self._label else str(error)
            raise CertificateError(text) from error.__cause__

    def commit(self) -> None:
        """Uses it, for handshakes from now on."""
        self._context, self._next = self._next, None

    def wrap(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> ssl.SSLObject:
        """The server's side of a new connection."""
        assert self._context is not None
        return self._context.wrap_bio(incoming, outgoing, server_side=True)


def custom(name: str) -> ssl.SSLContext:
    """The context that --ssl-context names, as module:attribute.

    The attribute is one, or a function without arguments that makes one.
    Raises CertificateError, whose cause is what went wrong in user's code.
    """
    module, _colon, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
        context = found if isinstance(found, ssl.SSLContext) else found()
    except Exception as error:
        raise CertificateError(
            f"cannot have a context from {name}: {error}"
        ) from error
    if not isinstance(context, ssl.SSLContext):
        raise CertificateError(f"{name} is no ssl.SSLContext")
    if context.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise CertificateError(
            f"{name} is made for clients: use ssl.PROTOCOL_TLS_SERVER"
        )
    return context
