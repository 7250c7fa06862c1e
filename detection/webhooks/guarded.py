"""POST to an address that a user chose, without becoming a way into our own network (SSRF).

A name is resolved once and the connection goes to the very address that was checked, so a name that answers
differently the second time (DNS rebinding) gains nothing; numbers in any notation (decimal, octal, IPv4 in IPv6) are
judged by what they resolve to. Redirects are not followed, proxies of the environment not used.

httpcore's documented ``network_backend`` is the hook for that. requests-hardened was weighed: it cannot allow chosen
networks, obeys proxy variables, and lets site-local and IPv4-compatible IPv6 addresses pass.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpcore
import httpx
from django.conf import settings
from django.utils.translation import gettext as _

CONNECT_SECONDS = 5
ANSWER_SECONDS = 10
READ_SECONDS = 3  # for the whole answer, in case that it trickles; all three fit into the actor's time_limit
MAX_ANSWER_BYTES = 2048  # kept for the log; the rest is not read
MAX_URL = 500
# What Python's `is_global` lets pass: 6to4 and its relays carry an IPv4 address, documentation, Azure's metadata.
ALSO_PRIVATE = tuple(ip_network(net) for net in ("2002::/16", "192.88.99.0/24", "3fff::/20", "168.63.129.16/32"))

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class NotAllowed(ValueError):  # noqa: N818  (reads as a sentence where it is raised)
    """This address is none that we send to. The text is for people."""


class NotSent(Exception):  # noqa: N818  (reads as a sentence where it is raised)
    """No answer came. The text is for people."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said; ``text`` is at most the beginning of it."""

    code: int
    text: str


def checked_url(text: str) -> str:
    """The address in its normal form (punycode, percent-encoded). What its name resolves to is checked when sending.

    Raises NotAllowed.
    """
    try:
        url = httpx.URL(text.strip())
        host = url.raw_host.decode()  # `host` would turn punycode back, which not every punycode allows
    except (httpx.InvalidURL, UnicodeError):
        raise NotAllowed(_("This is no address.")) from None
    if url.scheme not in ("http", "https") or not host:
        raise NotAllowed(_("The address must begin with https:// or http://."))
    if "%" in host:  # the zone of a link-local address
        raise NotAllowed(_("This is no address."))
    if url.userinfo:
        raise NotAllowed(_("The address must not contain a name or a password."))
    # Below 1024 live services that are no business of a webhook, such as mail.
    if url.port is not None and url.port not in (80, 443) and not 1024 <= url.port <= 65535:
        raise NotAllowed(_("The port must be 80, 443 or above 1023."))
    normal = str(url.copy_with(fragment=None))
    if len(normal) > MAX_URL:
        raise NotAllowed(_("The address is too long."))
    _check_literal(host)
    return normal


def _check_literal(host: str) -> None:
    """Refuse at once what needs no name server to be refused, in every notation that the system understands."""
    try:
        found = _addresses(host, 0, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return  # a name, or nothing that could be one: that is found out when it is used
    for address in found:
        check_address(address)


def check_address(address: Address) -> None:
    """Raises NotAllowed unless the address is public or in ``settings.WEBHOOK_NETWORKS``."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if _within(address, settings.WEBHOOK_NETWORKS):
        return
    site_local = isinstance(address, IPv6Address) and address.is_site_local
    if (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or site_local
        or _within(address, ALSO_PRIVATE)
    ):
        raise NotAllowed(_("The address belongs to a private network; this server only sends to public ones."))


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _addresses(host: str, port: int, *, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    # Without the scope of a link-local address (fe80::1%eth0).
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


class GuardedBackend(httpcore.SyncBackend):
    """Connects to the address that was checked, not to the name."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = _addresses(host, port)
        except (OSError, UnicodeError):
            raise httpcore.ConnectError(_("The name is not known.")) from None
        # One private address among public ones is reason enough: nobody needs such a name.
        for address in addresses:
            check_address(address)
        for address in addresses[:-1]:
            try:
                return super().connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue  # the next one may answer, as browsers do it for IPv6 and IPv4
        return super().connect_tcp(str(addresses[-1]), port, timeout, local_address, socket_options)


def post(url: str, body: bytes, headers: dict[str, str]) -> Answer:
    """Send once. Raises NotAllowed for a private address and NotSent when no answer came."""
    timeout = {"connect": CONNECT_SECONDS, "write": ANSWER_SECONDS, "read": ANSWER_SECONDS, "pool": CONNECT_SECONDS}
    try:
        with (
            httpcore.ConnectionPool(network_backend=GuardedBackend()) as pool,
            pool.stream(
                "POST", checked_url(url), headers=list(headers.items()), content=body, extensions={"timeout": timeout}
            ) as response,
        ):
            return Answer(response.status, _beginning(response))
    except httpcore.TimeoutException:
        raise NotSent(_("There was no answer in time.")) from None
    except NotAllowed:
        raise
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError, ValueError) as error:
        # ValueError: a name that no certificate could be for.
        reason = str(error)[:200] or type(error).__name__
        raise NotSent(_("The connection failed: %(error)s") % {"error": reason}) from None


def _beginning(response: httpcore.Response) -> str:
    """Enough for a log. Never more: the receiver decides how much it sends, and how slowly."""
    end = time.monotonic() + READ_SECONDS
    content = b""
    for chunk in response.iter_stream():
        content += chunk
        if len(content) >= MAX_ANSWER_BYTES or time.monotonic() > end:
            break
    return content[:MAX_ANSWER_BYTES].decode("utf-8", "replace").replace("\0", "")
