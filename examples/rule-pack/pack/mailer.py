"""Three ways to send mail, one for each mode."""

from __future__ import annotations

import mailbox
import smtplib
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from compozy.drivers.preflight import check_disk, check_reach, check_writable
from compozy.drivers.protocol import Check, Description, StartContext, Storage
from compozy.errors import DriverError


class Mailer:
    """The handle of tools: `compozy.tools.component("mailer").send(...)`."""

    def __init__(self, sender: str) -> None:
        self._sender = sender

    def send(self, to: str, subject: str, text: str) -> str:
        """Send one mail and return where it went."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self._sender, to, subject
        mail.set_content(text)
        return self.deliver(mail)

    def deliver(self, mail: EmailMessage) -> str:
        """Hand a mail over."""
        raise NotImplementedError


class ConsoleMailer(Mailer):
    """Shows mail on the terminal and keeps nothing."""

    @property
    def handle(self) -> Mailer:
        return self

    def start(self, context: StartContext) -> None:
        """Do nothing: the terminal is open already."""

    def ping(self) -> None:
        """The terminal always answers."""

    def stop(self, grace_s: float) -> None:
        """Do nothing: the terminal stays open."""

    def describe(self) -> Description:
        return Description()

    def deliver(self, mail: EmailMessage) -> str:
        print(mail, file=sys.stderr)
        return "terminal"


class FileMailer(Mailer):
    """Keeps mail in a mailbox."""

    def __init__(self, sender: str, file: str) -> None:
        super().__init__(sender)
        self._file = Path(file)

    @property
    def handle(self) -> Mailer:
        return self

    def start(self, context: StartContext) -> None:
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file.touch(mode=0o600)
        except OSError as error:
            raise DriverError(f"{self._file} cannot be written: {error}") from error

    def ping(self) -> None:
        if not self._file.is_file():
            raise DriverError(f"the mailbox {self._file} is missing")

    def stop(self, grace_s: float) -> None:
        """The mailbox is closed after each mail."""

    def describe(self) -> Description:
        return Description(data=str(self._file))

    def preflight(self, context: StartContext) -> Iterator[Check]:
        yield check_writable(str(self._file), "mailer.file")
        yield from check_disk(str(self._file))

    def storage(self) -> list[Storage]:
        return [Storage("file", str(self._file))]

    def deliver(self, mail: EmailMessage) -> str:
        box = mailbox.mbox(self._file)
        box.lock()
        try:
            box.add(mail)
        finally:
            box.close()
        return str(self._file)


class SmtpMailer(Mailer):
    """Sends mail through a server."""

    def __init__(self, sender: str, host: str, port: int, user: str | None, password: str | None) -> None:
        super().__init__(sender)
        self._address = (host, port)
        self._login = (user, password or "") if user else None

    @property
    def handle(self) -> Mailer:
        return self

    def start(self, context: StartContext) -> None:
        self.ping()

    def ping(self) -> None:
        self._with_server(lambda server: server.noop())

    def stop(self, grace_s: float) -> None:
        """A connection ends with each mail."""

    def describe(self) -> Description:
        return Description(address=f"{self._address[0]}:{self._address[1]}")

    def preflight(self, context: StartContext) -> Iterator[Check]:
        yield from check_reach(self, context)

    def deliver(self, mail: EmailMessage) -> str:
        self._with_server(lambda server: server.send_message(mail))
        return f"{self._address[0]}:{self._address[1]}"

    def _with_server(self, work: Any) -> None:
        try:
            with smtplib.SMTP(*self._address, timeout=5) as server:
                if self._login is not None:
                    server.login(*self._login)
                work(server)
        except OSError as error:  # smtplib's errors are OSErrors too
            raise DriverError(f"the mail server at {self.describe().address} does not answer: {error}") from error
