"""Driver of an external PostgreSQL server: a pooled peewee database for any number of threads.

The pool reconnects after a restart of the server. The password never appears in a message or a description.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from compozy.drivers.preflight import reached
from compozy.drivers.protocol import Check, Description, StartContext, Storage
from compozy.drivers.reach import REACH_S, Symptom, diagnosed, reach
from compozy.errors import DriverError

if TYPE_CHECKING:
    from compozy.drivers.postgres_pool import Pool, Probe

PING_S = 1.0
CLOCK_SKEW_S = 5.0
_PORT = 5432
_DEFAULTS = {"host": "localhost", "port": _PORT, "user": "compozy", "dbname": "compozy", "sslmode": "prefer"}
# libpq rounds shorter timeouts up to this.
_SHORTEST_S = 2
_URL = "write it as postgresql://user:password@host:5432/name; special characters are escaped as UTF-8, @ as %40"
_READ_ONLY = "after a failover name the primary, for example with ?target_session_attrs=read-write in database.url"
_OTHERWISE = (
    "check user, password and name of the database (database.url, or database.user, database.password, database.name), "
    "the options in database.url, and the log of the server"
)
_UNSENDABLE = "a setting of the database has a character that cannot be sent: NUL, or half a surrogate pair"
_SYMPTOMS = (
    Symptom(
        r'password authentication failed for user "(?P<user>[^"]*)"',
        'the password for user "{user}" was refused',
        "correct database.password, or the password in database.url",
    ),
    Symptom(
        "no password supplied",
        "the server asks for a password",
        "set database.password, or a password in database.url",
    ),
    Symptom(
        r'database "(?P<name>[^"]*)" does not exist',
        'database "{name}" does not exist',
        "create it (createdb {name}), or correct database.name",
    ),
    Symptom(
        r'role "(?P<user>[^"]*)" does not exist',
        'user "{user}" does not exist',
        "create it (createuser {user}), or correct database.user",
    ),
    Symptom(
        "no pg_hba.conf entry",
        "access denied: pg_hba.conf has no entry for this user and this client address",
        "allow it in the server's pg_hba.conf; some entries require TLS: database.ssl_mode: require",
    ),
    Symptom(
        "server does not support SSL",
        "the server does not support TLS, which database.ssl_mode requires",
        "enable TLS on the server, or set database.ssl_mode to prefer",
    ),
    Symptom(
        r'(certificate|key) file "(?P<file>[^"]*)"',
        "the file {file} cannot be read",
        "correct sslrootcert, sslcert or sslkey in database.url; without them libpq looks below ~/.postgresql",
    ),
    Symptom(
        "certificate|SSL error",
        "the TLS connection failed: the server's certificate could not be verified",
        "give the authority with ?sslrootcert=FILE in database.url, or correct database.ssl_mode",
    ),
    Symptom(
        "too many clients|remaining connection slots|too many connections",
        "too many connections",
        "lower database.max_connections, or raise max_connections of the server",
    ),
    Symptom(
        "starting up|shutting down|in recovery mode|not yet accepting",
        "the server is starting or stopping",
        "wait until it is ready",
    ),
    Symptom(
        "connection refused|could not connect|no such file",
        "connection refused: no server listens on this address",
        "start it, or correct database.url, or database.host and database.port",
    ),
    Symptom(
        "closed the connection|terminating connection|connection already closed|terminated",
        "the server closed the connection",
        "start it again, or see its log",
    ),
    Symptom("timeout expired", "it did not answer in time", "check the server, or raise database.connect_timeout"),
)


class PostgresDriver:
    """A pool of at most `max_connections` connections; a part that is given wins over that of the `url`."""

    def __init__(
        self, *, url: str | None = None, host: str | None = None, port: int | None = None, user: str | None = None,
        password: str | None = None, name: str | None = None, ssl_mode: str | None = None, max_connections: int = 25,
        connect_timeout_s: float = 5.0,
    ) -> None:  # fmt: skip
        self._url = url
        parts = {
            "host": host, "port": port, "user": user, "password": password, "dbname": name, "sslmode": ssl_mode,
        }  # fmt: skip
        self._parts = {key: value for key, value in parts.items() if value not in (None, "")}
        self._max_connections = max_connections
        self._timeout_s = connect_timeout_s
        self._where = "postgres"
        self._details: dict[str, object] = {}
        self._pool: Pool | None = None
        self._probe: Probe | None = None
        self._asking = threading.Lock()

    @property
    def handle(self) -> Any:
        """The peewee database."""
        return self._pool

    def start(self, context: StartContext) -> None:
        """Connect once, and keep the connection in the pool.

        Raises:
            DriverError: the URL cannot be read, or the server is out of reach or refuses.
        """
        parameters = self._parameters()
        self._where = f"postgres at {_address(parameters)}"
        host, port = str(parameters.get("host", "")), str(parameters.get("port", _PORT))
        # libpq rounds its timeouts to seconds and resolves names without one; this answers for an absent server at
        # once.
        if _is_network(host, port):
            reach(
                self._where, host, int(port), min(REACH_S, self._timeout_s, context.left_s()), setting=self._setting()
            )
        try:
            self._open(parameters, min(self._timeout_s, context.left_s()))
        except BaseException:
            self.stop(0)
            raise

    def _open(self, parameters: dict[str, Any], timeout_s: float) -> None:
        import peewee

        from compozy.drivers.postgres_pool import Pool, Probe

        name, limit = parameters.pop("dbname"), max(_SHORTEST_S, math.ceil(timeout_s))
        # Not through the pool: when all connections are in use, a health check would wait like every other query.
        self._probe = Probe({**parameters, "dbname": name})
        parameters["connect_timeout"] = limit
        pool = self._pool = Pool(name, parameters, size=self._max_connections, wait_s=self._timeout_s)
        try:
            # One connection now, because a wrong password must fail the start and not the first request.
            with pool.connection_context():
                info = pool.connection().info
                version = str(info.parameter_status("server_version") or "").partition(" ")[0]
                self._details = {"version": version, "user": info.user, "tls": bool(info.ssl_in_use)}
        except (peewee.DatabaseError, peewee.InterfaceError) as error:
            raise diagnosed(_specific_line(str(error)), self._where, _SYMPTOMS, otherwise=_OTHERWISE) from error
        except ValueError:
            # The text quotes the parameters, and with them the password.
            raise DriverError(f"{self._where}: {_UNSENDABLE}", hint=_OTHERWISE) from None

    def _parameters(self) -> dict[str, object]:
        """Return libpq's parameters."""
        stated = self._from_url(self._url) if self._url else _DEFAULTS
        given = {**stated, **self._parts}
        if "," in str(stated["port"]):
            # libpq takes one port for each of several hosts, which a single number cannot replace.
            given["port"] = stated["port"]
        return {
            "application_name": "compozy",
            # The system notices a dead peer within seconds, also below a statement that waits.
            "keepalives_idle": 10,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "tcp_user_timeout": max(1000, int(self._timeout_s * 1000)),
            **given,
        }

    def _from_url(self, url: str) -> dict[str, object]:
        import psycopg2
        from psycopg2.extensions import parse_dsn

        # The library's text quotes the URL; and what follows an unescaped @ or / is a piece of the password.
        unreadable = DriverError("database.url is not the URL of a PostgreSQL", hint=_URL)
        try:
            found = {**_DEFAULTS, **parse_dsn(url)}
        except (psycopg2.ProgrammingError, UnicodeDecodeError):  # %ff is not UTF-8
            raise unreadable from None
        ports = str(found["port"]).split(",")
        if not all(port.isdigit() for port in ports) or "@" in f"{found['host']}{found['dbname']}":
            raise unreadable
        return found

    def _setting(self) -> str:
        return "database.url" if self._url else "database.host and database.port"

    def ping(self) -> None:
        """Ask on a connection of its own, so that a busy pool does not count as an outage, whether writes are accepted.

        Raises:
            DriverError: the server did not answer within about a second or is read-only, or the pool is blocked.
        """
        began, pool = time.monotonic(), self._pool
        if pool is not None and not pool.free(PING_S / 2):
            raise DriverError(f"{self._where}: the connection pool is blocked", hint="see the log for slow connections")
        # One question at a time: against a silent server each would hold a thread and a connection.
        if not self._asking.acquire(timeout=PING_S):
            raise self._silent()
        try:
            if self._probe is None:
                raise DriverError(f"{self._where}: not started")
            self._ask(self._probe, PING_S - (time.monotonic() - began))
        finally:
            self._asking.release()

    def _ask(self, probe: Probe, timeout_s: float) -> None:
        import psycopg2

        try:
            writable = probe.ask(timeout_s)
        except TimeoutError as error:
            raise self._silent() from error
        except psycopg2.Error as error:
            raise diagnosed(_specific_line(str(error)), self._where, _SYMPTOMS, otherwise=_OTHERWISE) from error
        if not writable:
            raise DriverError(f"{self._where}: it is read-only", hint=_READ_ONLY)

    def _silent(self) -> DriverError:
        return DriverError(
            f"{self._where}: no answer within {PING_S:g} s", hint="see the load and the log of the server"
        )

    def stop(self, grace_s: float) -> None:
        """Close every connection; one whose statement gets no answer is cut off; idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.end(min(grace_s, PING_S))
        # Behind a running question, which its own deadline ends; the probe must not be closed while it is used.
        with self._asking:
            probe, self._probe = self._probe, None
            if probe is not None:
                probe.close()

    def preflight(self, context: StartContext) -> Iterator[Check]:
        """Check that the server answers, and its clock."""
        with reached(self, context) as check:
            yield check
            if check.status == "pass" and self._pool is not None:
                yield clock_check(self._pool.execute_sql("SELECT extract(epoch FROM now())").fetchone()[0])

    def storage(self) -> tuple[Storage, ...]:
        """Return nothing: the server keeps its data itself."""
        return ()

    def describe(self) -> Description:
        """Return the address and the facts of the database."""
        address = self._where.rpartition(" ")[2] if self._details else None
        return Description(address, None, {**self._details, "max_connections": self._max_connections})


def _address(parameters: dict[str, object]) -> str:
    return f"{parameters.get('host')}:{parameters.get('port', _PORT)}/{parameters.get('dbname')}"


def _is_network(host: str, port: str) -> bool:
    """Return True if `host` is one network address, not the path of a socket or a list of hosts."""
    return bool(host) and not host.startswith("/") and "," not in host and port.isdigit()


def _specific_line(text: str) -> str:
    """Return the most specific line of a libpq message, without the address in front of it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # libpq lists one line for each address that it tried; the server's own answer is the useful one.
    chosen = next((line for line in lines if "FATAL" in line), lines[0] if lines else "connection closed")
    return chosen.rpartition(" failed: ")[2].removeprefix("FATAL:").strip()


def clock_check(server_s: float) -> Check:
    """Return whether the clock of the server, in seconds since 1970, is right."""
    skew = abs(time.time() - float(server_s))
    status, fix = ("pass", "") if skew <= CLOCK_SKEW_S else ("warn", "synchronise the clocks of both machines")
    return Check("clock", status, f"its clock differs by {skew:.1f} s", fix)
