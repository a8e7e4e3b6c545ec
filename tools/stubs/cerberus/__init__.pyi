from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from cerberus.errors import BaseErrorHandler, ErrorDefinition, ValidationError

class TypeDefinition(NamedTuple):
    name: str
    included_types: tuple[type, ...]
    excluded_types: tuple[type, ...]

class Validator:
    types_mapping: ClassVar[dict[str, TypeDefinition]]
    def __init__(self, schema: Mapping[str, object], *, error_handler: BaseErrorHandler = ...) -> None: ...
    def validate(self, document: Mapping[str, object], normalize: bool = True) -> bool: ...
    # What the error handler answers: the one of this project returns the errors as they are.
    @property
    def errors(self) -> tuple[ValidationError, ...]: ...
    def _error(self, field: str, error: ErrorDefinition, *info: object) -> None: ...
