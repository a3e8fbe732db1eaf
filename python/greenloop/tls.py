# SPDX-License-Identifier: MIT
"""TLS: from certificate files to an ssl.SSLContext, and what a handshake
tells an application.

The C part seals and opens bytes with the context; it may as well be one of
the user's own (start_server(ssl=...)).
"""

from __future__ import annotations

import dataclasses
import os
import ssl

__all__ = [
    "Certificate",
    "CertificateError",
    "Contexts",
    "describe",
    "parse_name",
    "parse_socket",
]


class CertificateError(OSError):
    """A certificate that cannot be used; str() says which and why."""

    def __str__(self) -> str:
        return str(self.strerror)


@dataclasses.dataclass(frozen=True)
class Certificate:
    """Files of a certificate, as --https-socket names them.

    ca: certificates that a client's must be signed by; a leading "!" makes
    one required, as in uWSGI; else a client may have none.
    """

    cert: str
    key: str
    ciphers: str = ""
    ca: str = ""

    @classmethod
    def parse(cls, text: str) -> Certificate:
        """Reads "cert,key[,ciphers[,ca]]"; ValueError if it is none."""
        parts = text.split(",")
        if not 2 <= len(parts) <= 4 or not parts[0] or not parts[1]:
            raise ValueError(f"expected cert,key[,ciphers[,ca]], not {text!r}")
        return cls(*parts)


def parse_socket(text: str) -> tuple[str, Certificate]:
    """Reads "address,cert,key[,ciphers[,ca]]" of --https-socket.

    Raises ValueError, with a text that says what is expected.
    """
    address, _comma, rest = text.partition(",")
    return address, Certificate.parse(rest)


def parse_name(text: str) -> tuple[str, Certificate]:
    """Reads "name cert,key[,ciphers[,ca]]" of --sni, as parse_socket()."""
    name, _space, rest = text.strip().partition(" ")
    return name, Certificate.parse(rest.strip())


def _explain(certificate: Certificate, error: OSError) -> CertificateError:
    ca = certificate.ca.lstrip("!")
    for path in (certificate.cert, certificate.key, ca):
        if path and not os.access(path, os.R_OK):
            return CertificateError(
                error.errno, f"cannot read the file {path}"
            )
    why = getattr(error, "reason", None) or str(error)
    return CertificateError(
        error.errno,
        f"cannot use the certificate {certificate.cert} with the key "
        f"{certificate.key}: {why}",
    )


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    try:
        context.load_cert_chain(certificate.cert, certificate.key)
        if certificate.ciphers:
            context.set_ciphers(certificate.ciphers)
        if certificate.ca:
            context.load_verify_locations(certificate.ca.lstrip("!"))
    except OSError as error:  # ssl.SSLError is one
        raise _explain(certificate, error) from error


def _new_context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A handshake costs the server more than the client; OpenSSL before 3.0
    # lets clients ask for as many as they like.
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load(context, certificate)
    if certificate.ca:
        context.verify_mode = (
            ssl.CERT_REQUIRED
            if certificate.ca.startswith("!")
            else ssl.CERT_OPTIONAL
        )
    return context


class Contexts:
    """The context of a listener, with further ones by server name (SNI).

    `names` maps host names to their certificates; "*.example.com" stands
    for one more label.  Raises CertificateError.
    """

    def __init__(
        self,
        certificate: Certificate,
        names: dict[str, Certificate] | None = None,
    ) -> None:
        self._certificate = certificate
        self._names = {
            name.lower(): certificate
            for name, certificate in (names or {}).items()
        }
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.main = _new_context(certificate)
        if self._names:
            self._make_named()
            self.main.sni_callback = self._choose

    def _make_named(self) -> None:
        self._contexts = {
            name: _new_context(certificate)
            for name, certificate in self._names.items()
        }

    def reload(self) -> None:
        """Reads the files again, for handshakes from now on.

        Raises CertificateError, and then goes on with what was loaded.
        """
        _new_context(self._certificate)  # a test: half a pair would stay
        self._make_named()
        _load(self.main, self._certificate)

    def _choose(
        self,
        connection: ssl.SSLObject,
        name: str | None,
        main: ssl.SSLContext,
    ) -> None:
        name = (name or "").lower()
        context = self._contexts.get(name)
        if context is None:
            context = self._contexts.get("*." + name.partition(".")[2])
        if context is not None:
            connection.context = context


def describe(connection: ssl.SSLObject) -> dict[str, str]:
    """What environs say of a connection, by mod_ssl's and uWSGI's names."""
    facts = {}
    version, cipher = connection.version(), connection.cipher()
    if version is not None and cipher is not None:
        facts["SSL_PROTOCOL"] = version
        facts["SSL_CIPHER"] = cipher[0]
    if connection.context.verify_mode == ssl.CERT_NONE:
        return facts
    sealed = connection.getpeercert(binary_form=True)
    facts["SSL_CLIENT_VERIFY"] = "SUCCESS" if sealed else "NONE"
    peer = connection.getpeercert()
    if sealed and peer:
        facts["SSL_CLIENT_S_DN"] = facts["HTTPS_DN"] = _name(peer["subject"])
        facts["SSL_CLIENT_I_DN"] = _name(peer["issuer"])
        facts["SSL_CLIENT_M_SERIAL"] = str(peer["serialNumber"])
        facts["SSL_CLIENT_CERT"] = ssl.DER_cert_to_PEM_cert(sealed)
    return facts


# As OpenSSL abbreviates them, and with it everybody.
SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "emailAddress": "emailAddress",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
}


def _name(parts: object) -> str:
    """A distinguished name as one line: /C=DE/O=Example/CN=me."""
    assert isinstance(parts, tuple)
    text = "".join(
        f"/{SHORT.get(key, key)}={value}"
        for part in parts
        for key, value in part
    )
    # The values of environ are native strings (PEP 3333).
    return text.encode("utf-8").decode("latin-1")
