"""Driver of an external Redis or Valkey server.

The client reconnects after an outage. The password never appears in a message or a description.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from compozy.drivers.certificates import read_pem
from compozy.drivers.preflight import check_reach
from compozy.drivers.protocol import Check, Description, StartContext, Storage
from compozy.drivers.reach import REACH_S, Symptom, diagnosed, reach
from compozy.errors import DriverError

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger("compozy.redis")
PING_S = 1.0
# Writing an empty text into it changes nothing, but is refused wherever a write is.
PROBED_KEY = "compozy:health"
_PORT = 6379
_CONNECT_S = 2.0
# An answer that takes longer counts as lost; blocking commands wait in slices of it.
_ANSWER_S = 5.0
# A connection that was idle for longer is asked before it is used, because proxies drop idle ones silently.
_IDLE_S = 15
_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
_SCHEMES = ("redis", "rediss", "unix")
_URL = (
    "write it as redis://:password@host:6379/0, rediss:// for TLS; escape special characters in the password, "
    "@ as %40; options are those of redis-py, for example ?ssl_cert_reqs=required (or optional, none)"
)
_UNUSABLE = "redis.url is not the URL of a Redis, or has an option that cannot be used"
_OTHERWISE = "check password, database number and the options in redis.url, and the log of the server"
_SYMPTOMS = (
    Symptom(
        "NOAUTH|authentication required|already authenticated|called without any password",
        "the server asks for a password, or for none",
        "correct redis.password, or the password in redis.url",
    ),
    Symptom(
        "WRONGPASS|invalid username-password|invalid password",
        "the password was refused",
        "correct redis.password, or the password in redis.url",
    ),
    Symptom(
        "DB index is out of range|invalid database",
        "the database number is out of range",
        "lower redis.db, or raise `databases` in the server's configuration",
    ),
    Symptom(
        "CERTIFICATE_VERIFY_FAILED|certificate",
        "the TLS connection failed: the server's certificate could not be verified",
        "give the authority with ?ssl_ca_certs=FILE in redis.url; the certificate must name the host",
    ),
    Symptom("SSL|TLS", "the server does not support TLS", "set redis.tls to false, or write redis:// in redis.url"),
    Symptom(
        "unknown command|Protocol Error",
        "not a Redis server, or older than version 6",
        "correct redis.url, or redis.host and redis.port",
    ),
    Symptom(
        "OOM command|maxmemory",
        "memory limit reached; the server rejects writes",
        "raise `maxmemory` of the server, or set a policy that evicts keys",
    ),
    Symptom("READONLY|read only replica", "it is a read-only replica", "name the primary in redis.url or redis.host"),
    Symptom("MISCONF", "the server rejects writes because it cannot save its data", "see its log and its disk"),
    Symptom("loading the dataset|BUSYLOADING", "the server is loading its data", "wait until it is ready"),
    Symptom("max number of clients", "too many clients", "raise `maxclients` of the server"),
    Symptom(
        "refused|no such file",
        "connection refused: no server listens on this address",
        "start it, or correct redis.url, or redis.host and redis.port",
    ),
    Symptom(
        "timeout|timed out",
        f"no answer within {PING_S:g} s",
        "see the log of the server; a server without TLS does not answer when redis.tls is true",
    ),
    Symptom(
        "closed by server|reset by peer|broken pipe|while reading|while writing",
        "the server closed the connection",
        "start it again, or see its log; a server that accepts only TLS needs redis.tls: true",
    ),
)


class RedisExternalDriver:
    """Clients of one Redis database; a part that is given wins over that of the `url`.

    `tls` chooses between `redis://` and `rediss://`. A `host` that begins with a slash is a socket.
    """

    def __init__(
        self, *, url: str | None = None, host: str | None = None, port: int | None = None, password: str | None = None,
        db: int | None = None, tls: bool | None = None,
    ) -> None:  # fmt: skip
        parts = {"host": host, "port": port, "password": password, "db": db}
        self._url = url
        self._parts: dict[str, object] = {key: value for key, value in parts.items() if value not in (None, "")}
        self._tls = tls
        self._where = "redis"
        self._details: dict[str, object] = {}
        self._client: Redis | None = None
        self._probe: Redis | None = None

    @property
    def handle(self) -> Any:
        """The Redis client."""
        return self._client

    def start(self, context: StartContext) -> None:
        """Connect and ask.

        Raises:
            DriverError: the URL cannot be read, or the server is out of reach or refuses.
        """
        try:
            self._connect(context)
        except BaseException:
            self.stop(0)
            raise

    def _connect(self, context: StartContext) -> None:
        from redis.backoff import ExponentialBackoff, NoBackoff
        from redis.retry import Retry

        # A dead connection is noticed when it is taken from the pool; these retries outlast a quick restart.
        again = Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=3)
        self._client = self._make(
            retry=again, socket_timeout=_ANSWER_S, socket_connect_timeout=_CONNECT_S, health_check_interval=_IDLE_S
        )
        # A health check reports the present state, so it tries once.
        never = Retry(NoBackoff(), retries=0)
        probe = self._probe = self._make(retry=never, socket_timeout=PING_S, socket_connect_timeout=PING_S)
        known = probe.connection_pool.connection_kwargs
        self._where = f"redis at {_address(known)}"
        # Read here, so that the error names the file that cannot be read.
        for option in _FILES & known.keys():
            if known[option]:
                read_pem(known[option], f"{option} in redis.url")
        if "path" not in known:
            timeout_s = min(REACH_S, context.left_s())
            reach(self._where, *_host_port(known), timeout_s, setting=self._setting())
        self.ping()
        self._details = self._facts(probe, known)

    def _make(self, **options: object) -> Redis:
        """Return a client that is not connected yet.

        Raises:
            DriverError: the URL is not that of a Redis.
        """
        from redis import Redis

        url = self._url or "redis://"
        own = dict(self._parts)
        if url.startswith("unix:") and str(own.pop("host", "/")).startswith("/"):
            own.pop("port", None)
        elif url.startswith("unix:"):
            url, own = "redis://", self._parts
        try:
            client = Redis.from_url(_secured(url, tls=self._tls), **options)
            pool = client.connection_pool
            pool.connection_kwargs.update(own)
            # An option that does not exist shows only when a connection is constructed.
            pool.connection_class(**pool.connection_kwargs)
        except Exception as error:  # noqa: BLE001 - the library raises errors of many kinds for an option
            # Its text may quote the URL, and with it the password.
            log.info("redis.url_unusable", extra={"error": type(error).__name__})
            raise DriverError(_UNUSABLE, hint=_URL) from None
        return client

    def _facts(self, probe: Redis, known: Mapping[str, object]) -> dict[str, object]:
        from redis.exceptions import RedisError

        facts = {"database": known.get("db") or 0, "tls": _has_tls(probe)}
        try:
            info = probe.info("server")
        except RedisError:
            # A user of few rights may connect but not ask this.
            return facts
        return {"version": info.get("valkey_version") or info.get("redis_version"), **facts}

    def _setting(self) -> str:
        return "redis.url" if self._url else "redis.host and redis.port"

    def ping(self) -> None:
        """Ask for a write that changes nothing, on a connection of its own that tries once.

        Raises:
            DriverError: it did not answer within about a second, or takes no writes.
        """
        from redis.exceptions import NoPermissionError, RedisError

        probe = self._probe
        if probe is None:
            raise DriverError(f"{self._where}: not started")
        try:
            try:
                probe.setrange(PROBED_KEY, 0, "")
            # A user of few rights may not write this key; then an answer is enough.
            except NoPermissionError:
                probe.ping()
        except (RedisError, OSError, ValueError, LookupError) as error:
            text, password = str(error), str(probe.connection_pool.connection_kwargs.get("password") or "")
            # A cause whose text quotes the password would be printed with it.
            quotes = bool(password) and password in text
            shown = text.replace(password, "[REDACTED]") if quotes else text
            raise redis_error(shown, self._where) from (None if quotes else error)

    def stop(self, grace_s: float) -> None:
        """Close every connection; idempotent."""
        for client in (self._client, self._probe):
            if client is not None:
                client.close()
        self._client = self._probe = None

    def preflight(self, context: StartContext) -> Iterator[Check]:
        """Check that the server answers."""
        yield from check_reach(self, context)

    def storage(self) -> tuple[Storage, ...]:
        """Return nothing: the server keeps its data itself."""
        return ()

    def describe(self) -> Description:
        """Return the address and the facts of the server."""
        return Description(self._where.rpartition(" ")[2] if self._details else None, None, self._details)


def redis_error(text: str, where: str = "redis") -> DriverError:
    """Return what the text of a client's error means; it holds no secret."""
    return diagnosed(text, where, _SYMPTOMS, otherwise=_OTHERWISE)


def _secured(url: str, *, tls: bool | None) -> str:
    """Return the URL, with TLS where it is asked for.

    Raises:
        ValueError: it is not a URL of a Redis; what follows an unescaped / or # would be a piece of the password.
    """
    parts = urlsplit(url)
    number = parts.path.strip("/")
    if parts.scheme not in _SCHEMES or parts.fragment:
        raise ValueError(parts.scheme)
    if parts.scheme != "unix" and (parts.port == 0 or (number and not number.isdigit())):
        raise ValueError(number)
    wanted = parts.scheme if tls is None or parts.scheme == "unix" else "rediss" if tls else "redis"
    return wanted + url[len(parts.scheme) :]


def _address(known: Mapping[str, object]) -> str:
    place = known["path"] if "path" in known else "{}:{}".format(*_host_port(known))
    return f"{place}/{known.get('db') or 0}"


def _host_port(known: Mapping[str, Any]) -> tuple[str, int]:
    return str(known.get("host") or "localhost"), int(known.get("port") or _PORT)


def _has_tls(client: Redis) -> bool:
    from redis.connection import SSLConnection

    return issubclass(client.connection_pool.connection_class, SSLConnection)
