"""URLs as etcd takes them for listening and advertising: a scheme and an address, nothing else."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import attrs

from rusd.environment import join_address

SCHEMES = ("http", "https", "unix", "unixs")


@attrs.frozen
class Url:
    """One URL.  Of a unix URL, ``host`` is the path of the socket and ``port`` is 0."""

    scheme: str
    host: str
    port: int

    @property
    def is_unix(self) -> bool:
        """Whether this names a socket file."""
        return self.scheme in ("unix", "unixs")

    @property
    def is_tls(self) -> bool:
        """Whether connections to it are encrypted."""
        return self.scheme in ("https", "unixs")

    @property
    def authority(self) -> str:
        """``host:port``, IPv6 addresses in brackets; of a unix URL the path."""
        if self.is_unix:
            return self.host
        return join_address(self.host, self.port)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def parse_url(text: str) -> Url:
    """The URL in ``text``.  Raises :class:`ValueError` with etcd's words."""
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower() if separator else ""
    if scheme not in SCHEMES:
        raise ValueError(f"URL scheme must be http, https, unix, or unixs: {text}")
    if scheme in ("unix", "unixs"):
        if not rest:
            raise ValueError(f"URL address does not have the form of a socket path: {text}")
        return Url(scheme, rest, 0)
    host, port = _split_address(text)
    return Url(scheme, host, port)


def _split_address(text: str) -> tuple[str, int]:
    form = f'URL address does not have the form "host:port": {text}'
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that don't match, or hold no IPv6 address
        raise ValueError(form) from None
    address, separator, port = parts.netloc.rpartition(":")
    if not separator or "@" in address or port.endswith("]"):
        raise ValueError(form)
    if parts.path or parts.query or parts.fragment:
        raise ValueError(f"URL must not contain a path: {text}")
    host = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if ":" in host and host == address:  # an IPv6 address without brackets
        raise ValueError(form)
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f'URL address has an invalid port "{port}": {text}')
    return host, int(port)


def parse_urls(text: str) -> tuple[Url, ...]:
    """A comma separated list: sorted, without duplicates; none for empty text."""
    if not text:
        return ()
    urls = {parse_url(part) for part in text.split(",")}
    return tuple(sorted(urls, key=lambda url: (url.scheme, url.authority)))


def format_urls(urls: tuple[Url, ...]) -> str:
    """The reverse of :func:`parse_urls`."""
    return ",".join(str(url) for url in urls)


def check_bind(urls: tuple[Url, ...]) -> None:
    """Addresses to listen on must be IPs or ``localhost``.  Raises :class:`ValueError`."""
    for url in urls:
        if url.is_unix or url.host == "localhost":
            continue
        try:
            ipaddress.ip_address(url.host)
        except ValueError:
            raise ValueError(f"expected IP in URL for binding ({url})") from None


def check_advertise(urls: tuple[Url, ...]) -> None:
    """Addresses told to others must have a host.  Raises :class:`ValueError`."""
    for url in urls:
        if not url.host:
            raise ValueError(f"unexpected empty host ({url})")
