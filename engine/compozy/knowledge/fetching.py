"""Fetch documents by HTTP from the addresses that a configuration allows, and from no others.

A host is resolved once, every address of it is checked, and the connection goes to a checked address, so that a name
that resolves to another address a moment later reaches nothing else. Each redirect is checked like the first address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import httpx2

from compozy.knowledge.bases import ReadLimits
from compozy.knowledge.documents import RawContent, UnreadableDocument

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ADVICE = "correct the address, or name its host in knowledge.fetch.allow"


def fetch(address: str, limits: ReadLimits, resolve: Resolver | None = None) -> RawContent:
    """Return what an address of a source answers; redirects are followed where the configuration allows their target.

    Raises:
        UnreadableDocument: an address is not allowed, does not answer in time, or answers with an error or too much.
    """
    try:
        return asyncio.run(_fetch_within(httpx2.URL(address), limits, resolve or _resolve))
    except httpx2.InvalidURL as error:
        raise UnreadableDocument(f"malformed URL: {error}", "correct the address") from error
    except TimeoutError as error:
        reason = f"timeout: no complete answer within {limits.fetch_timeout_s:g} s"
        raise UnreadableDocument(reason, "try again later, or raise knowledge.fetch.timeout") from error
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise UnreadableDocument(f"connection failed: {reason}", "check that the server answers") from error


async def _fetch_within(url: httpx2.URL, limits: ReadLimits, resolve: Resolver) -> RawContent:
    allowed = Allowed(limits.fetch_allow, url)
    async with (
        asyncio.timeout(limits.fetch_timeout_s),
        # No proxy and no .netrc of the environment; the environment is no source of settings.
        httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=limits.fetch_timeout_s) as client,
    ):
        for _ in range(_REDIRECTS + 1):
            found = await _get(client, url, await allowed.addresses(url, resolve), limits.size_bytes)
            if isinstance(found, RawContent):
                return found
            url = redirect_target(url, found)
    raise UnreadableDocument(f"more than {_REDIRECTS} redirects", "name the last address")


def redirect_target(url: httpx2.URL, location: str) -> httpx2.URL:
    """Return where `url` redirects to; user and password stay with their host.

    Raises:
        UnreadableDocument: it leaves the protection of TLS.
    """
    target = url.join(location)
    if url.scheme == "https" and target.scheme != "https":
        raise UnreadableDocument("it redirects from https to http", "name an address with https")
    same = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
    # Credentials of one host must not be sent to another one.
    return target.copy_with(userinfo=url.userinfo if same else b"")


async def _get(client: httpx2.AsyncClient, url: httpx2.URL, addresses: Sequence[str], limit: int) -> RawContent | str:
    """Return the answer of the first of `addresses` that accepts a connection, or where it redirects to."""
    for at, address in enumerate(addresses):
        # No compression, or a small answer could unpack to more than the limit.
        headers = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": "compozy"}
        direct = url.copy_with(host=address, fragment=None)
        # The connection goes to an address, so TLS must be given the name to verify.
        extensions = {"sni_hostname": url.raw_host.decode("ascii")}
        try:
            async with client.stream("GET", direct, headers=headers, extensions=extensions) as response:
                return await _answer(response, limit)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            # Only a failure to connect leads to the next address; an answer, even an error, is the answer.
            if at == len(addresses) - 1:
                raise
    raise UnreadableDocument("its host has no address", _ADVICE)


async def _answer(response: httpx2.Response, limit: int) -> RawContent | str:
    if response.is_redirect:
        return str(response.headers["location"])
    if response.status_code != 200:
        raise UnreadableDocument(f"the server answers with HTTP {response.status_code}", "check the address")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise UnreadableDocument("the server compresses although it was not asked to", "name another address")
    content = bytearray()
    async for part in response.aiter_raw():
        content += part
        if len(content) > limit:
            raise UnreadableDocument(f"it is larger than {limit} bytes", "raise knowledge.read.max_size")
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().casefold()
    return RawContent(bytes(content), media_type, response.charset_encoding)


class Allowed:
    """Which addresses may be fetched: those that `entries` name, and the host of the address `written` as a source.

    An entry is a host, `host:port`, an address or a network such as `10.0.0.0/8`; a host stands for all of its ports.
    An address that is not public is reached only where an entry names it or its host.
    """

    def __init__(self, entries: Sequence[str], written: httpx2.URL) -> None:
        self._named = frozenset(map(str.casefold, entries))
        self._networks = [network for network in map(_network, entries) if network is not None]
        # The standard port of https too, because most servers redirect there.
        own = {_port(written), 443} if _port(written) == 80 else {_port(written)}
        self._own = {(written.raw_host, port) for port in own}

    async def addresses(self, url: httpx2.URL, resolve: Resolver) -> Sequence[str]:
        """Return the addresses of the host of `url`.

        Raises:
            UnreadableDocument: the scheme, the host or one of its addresses is not allowed, or it has no address.
        """
        if url.scheme not in _PORTS or not url.host:
            raise UnreadableDocument(f'the scheme "{url.scheme}" is not fetched', "name an address with http or https")
        try:
            found = await resolve(url.raw_host.decode("ascii"), _port(url))
        except (OSError, OverflowError, UnicodeError) as error:
            reason = f"the host {url.host} cannot be resolved: {getattr(error, 'strerror', None) or error}"
            raise UnreadableDocument(reason, "check the address, and the name server of this machine") from error
        for address in found:
            self._check(url, address)
        return found

    def _check(self, url: httpx2.URL, address: str) -> None:
        hosts = {url.host.casefold(), url.raw_host.decode("ascii"), f"[{url.host}]"}
        named = self._named & {*hosts, *(f"{host}:{_port(url)}" for host in hosts)}
        reached = _reached(address)
        if named or any(one in network for network in self._networks for one in reached):
            return
        if (url.raw_host, _port(url)) not in self._own:
            reason = f"the configuration does not allow the host {url.host} with port {_port(url)}"
            raise UnreadableDocument(reason, _ADVICE)
        if not all(one.is_global and not one.is_multicast for one in reached):
            raise UnreadableDocument(f"the address {address} of the host {url.host} is not public", _ADVICE)


def _port(url: httpx2.URL) -> int:
    return url.port or _PORTS.get(url.scheme, 0)


def _network(entry: str) -> IPNetwork | None:
    try:
        return ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return None


def _reached(address: str) -> list[IPAddress]:
    """Return the addresses that a connection to `address` may reach: itself, and what a gateway translates it to."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return [found]
    if found.ipv4_mapped:
        return [found.ipv4_mapped]
    translated = (found.sixtofour, (found.teredo or (None, None))[1], _nat64(found))
    return [found, *(one for one in translated if one is not None)]


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
