# SPDX-License-Identifier: MIT
"""What environs say of a TLS connection, by mod_ssl's and uWSGI's names."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Mapping
from typing import Any

from greenloop.tls import NAME_ATTRIBUTE

__all__ = ["describe"]

# As OpenSSL abbreviates them, and with it everybody.
SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "userId": "UID",
}


def describe(connection: ssl.SSLObject) -> dict[str, str]:
    """Called once a connection, after its handshake."""
    cipher = connection.cipher()
    facts = _of_session(
        connection.version() or "",
        cipher[0] if cipher is not None else "",
        bool(connection.session_reused),
        getattr(connection, NAME_ATTRIBUTE, ""),
        connection.context.verify_mode != ssl.CERT_NONE,
    )
    if "SSL_CLIENT_VERIFY" in facts:
        sealed = connection.getpeercert(binary_form=True)
        peer = connection.getpeercert()
        if sealed and peer:
            return {**facts, **_of_client(peer, sealed)}
    return facts


@functools.lru_cache(maxsize=64)
def _of_session(
    version: str, cipher: str, resumed: bool, name: str, asked: bool
) -> dict[str, str]:
    """Shared by all connections that have nothing else to tell."""
    facts = {
        "SSL_PROTOCOL": version,
        "SSL_CIPHER": cipher,
        "SSL_SESSION_RESUMED": "Resumed" if resumed else "Initial",
    }
    if name:
        facts["SSL_TLS_SNI"] = name
    if asked:
        facts["SSL_CLIENT_VERIFY"] = "NONE"
    return facts


def _of_client(peer: Mapping[str, Any], sealed: bytes) -> dict[str, str]:
    subject, issuer = _parts(peer, "subject"), _parts(peer, "issuer")
    return {
        "SSL_CLIENT_VERIFY": "SUCCESS",
        "SSL_CLIENT_S_DN": _comma_form(subject),
        "SSL_CLIENT_I_DN": _comma_form(issuer),
        "SSL_CLIENT_M_SERIAL": str(peer.get("serialNumber", "")),
        "SSL_CLIENT_V_START": str(peer.get("notBefore", "")),
        "SSL_CLIENT_V_END": str(peer.get("notAfter", "")),
        "SSL_CLIENT_CERT": ssl.DER_cert_to_PEM_cert(sealed),
        "HTTPS_DN": _slash_form(subject),
    }


def _parts(peer: Mapping[str, Any], key: str) -> list[list[tuple[str, str]]]:
    """A distinguished name: its parts, each of one or more attributes."""
    return [
        [(SHORT.get(kind, kind), str(value)) for kind, value in part]
        for part in peer.get(key, ())
    ]


def _comma_form(parts: list[list[tuple[str, str]]]) -> str:
    """RFC 4514: the last part first, and nothing that a value may forge."""
    text = ",".join(
        "+".join(f"{kind}={_escaped(value)}" for kind, value in part)
        for part in reversed(parts)
    )
    # The values of environ are native strings (PEP 3333).
    return text.encode("utf-8", "replace").decode("latin-1")


def _escaped(value: str) -> str:
    text = "".join(
        f"\\{sign}"
        if sign in '",+;<>\\'
        else f"\\{ord(sign):02X}"
        if sign < " " or sign == "\x7f"
        else sign
        for sign in value
    )
    if text[:1] in (" ", "#"):
        text = "\\" + text
    if value.endswith(" ") and len(value) > 1:
        text = text[:-1] + "\\ "
    return text


def _slash_form(parts: list[list[tuple[str, str]]]) -> str:
    """uWSGI's: /C=DE/O=Example/CN=me.  What is no plain sign, or would look
    like the next part, is written as \\xHH."""
    return "".join(
        f"/{kind}={_hexed(value)}" for part in parts for kind, value in part
    )


def _hexed(value: str) -> str:
    return "".join(
        chr(byte)
        if 0x20 <= byte <= 0x7E and byte not in b"/\\"
        else f"\\x{byte:02X}"
        for byte in value.encode("utf-8", "replace")
    )
