from typing import Any, NamedTuple

class ErrorDefinition(NamedTuple):
    code: int
    rule: str | None

class ValidationError:
    document_path: tuple[str | int, ...]
    code: int
    rule: str
    constraint: object
    value: Any
    info: tuple[object, ...]

class BaseErrorHandler: ...
