from datetime import datetime
from typing import NamedTuple

from peewee import Database

class MigrationError(Exception): ...

class Migration(NamedTuple):
    idx: int
    name: str
    path: str | None
    applied: datetime | None

class Runner:
    def __init__(self, database: Database, directory: str = "migrations", table_name: str = ...) -> None: ...
    def status(self) -> list[Migration]: ...
    def up(self, target: str | None = None, fake: bool = False) -> list[str]: ...
    def down(self, target: str | None = None) -> list[str]: ...
