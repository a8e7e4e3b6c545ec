"""Check within a bounded time that an external server accepts connections, and translate client library errors.

Client libraries report an unreachable server late and each in its own words; every external driver checks here first,
so that all report it alike.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Sequence

from compozy.base.record import dataclass
from compozy.errors import DriverError

# A server that has not accepted a connection by then counts as unreachable.
REACH_S = 2.0
_MARGIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Symptom:
    """An error text of a client library: `pattern` is searched in it, its groups fill `reason` and `hint`."""

    pattern: str
    reason: str
    hint: str


def diagnosed(
    text: str, where: str, symptoms: Sequence[Symptom], *, otherwise: str = "see the log of the server"
) -> DriverError:  # fmt: skip
    """Return the error of the first symptom found in `text`; without one the text, which holds no secret.

    `otherwise` is the hint for a text that no symptom knows, for example because the server speaks another language.
    """
    return diagnosis(text, where, symptoms) or DriverError(
        f"{where}: {text.strip().partition(chr(10))[0]}", hint=otherwise
    )


def diagnosis(text: str, where: str, symptoms: Sequence[Symptom]) -> DriverError | None:
    """Return the error of the first symptom found in `text`, or None."""
    for symptom in symptoms:
        found = re.search(symptom.pattern, text, re.IGNORECASE | re.DOTALL)
        if found is not None:
            facts = found.groupdict()
            return DriverError(f"{where}: {symptom.reason.format(**facts)}", hint=symptom.hint.format(**facts))
    return None


def reach(where: str, host: str, port: int, timeout_s: float, *, setting: str) -> None:
    """Return when `host` and `port` accept a connection within `timeout_s` seconds.

    `where` begins the error's text, `setting` is the one that its hint names.

    Raises:
        DriverError: unknown host, connection refused, or no answer in time.
    """
    failure = _attempt(host, port, timeout_s)
    if failure is None:
        return
    if isinstance(failure, socket.gaierror | UnicodeError):
        raise DriverError(f'{where}: the host "{host}" is not known', hint=f"correct {setting}") from failure
    if isinstance(failure, TimeoutError):
        reason = f"{where}: no answer within {timeout_s:g} s"
        raise DriverError(reason, hint=f"check the network and firewalls in between, or correct {setting}") from failure
    reason = f"{where}: {(failure.strerror or str(failure)).lower()}"
    raise DriverError(reason, hint=f"start it, or correct {setting}") from failure


def _attempt(host: str, port: int, timeout_s: float) -> OSError | UnicodeError | None:
    """Connect and hang up, in a thread of its own: looking a name up cannot be bounded otherwise."""
    failures: list[OSError | UnicodeError] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout_s).close()
        except (OSError, UnicodeError) as error:
            failures.append(error)

    thread = threading.Thread(target=connect, name="compozy-reach", daemon=True)
    thread.start()
    # The margin lets the timeout of the socket come first, whose error is more exact.
    thread.join(timeout_s + _MARGIN_S)
    if thread.is_alive():
        return TimeoutError()
    return failures[0] if failures else None
