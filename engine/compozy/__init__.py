"""Compozy: declarative workflows on Temporal, provisioned by rule tables.

The public names are `load` and `Lifecycle`. Importing this package costs nothing that is not used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from compozy.provisioning.lifecycle import Lifecycle
    from compozy.provisioning.runtime import Runtime
    from compozy.resolution.resolve import Resolved

__version__ = "0.1.0"
__all__ = ["Lifecycle", "__version__", "load"]


def load(
    file: str | None = None,
    *,
    directory: str | None = None,
    settings: Mapping[str, object] | None = None,
    packs: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    strict: bool = False,
) -> Lifecycle:
    """Read a configuration and return its lifecycle in the state `unresolved`.

    `file` is a configuration file, or None to look for `compozy.yaml` from `directory` (the process's when
    None) upwards. `settings` maps setting paths, dotted or nested, to values and wins over every other source.
    `packs` are directories of rule packs. `environment` is the process's when None. `strict` makes warnings stop.

    Raises:
        UsageError: the file or the directory does not exist.
        RuleTableError: the rule tables cannot be used.
    """
    from compozy.provisioning.lifecycle import Lifecycle
    from compozy.resolution.configuration import load_configuration

    def provision(resolved: Resolved, release: Callable[[float], None]) -> Runtime:
        from compozy.workflows.project import provision_project

        return provision_project(resolved, release)

    flags = {path: _text(value) for path, value in _flat(settings or {}, "")}
    configuration = load_configuration(
        directory=directory, file=file, flags=flags, packs=packs, environment=environment,
        flag_names={path: f"settings[{path!r}]" for path in flags},
    )  # fmt: skip
    return Lifecycle(configuration, strict=strict, provisioner=provision)


def _flat(settings: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    """Yield dotted paths; a nested mapping is a group of settings."""
    from compozy.errors import UsageError

    if not isinstance(settings, dict):
        raise UsageError("settings is not a mapping", hint='write settings={"mode": "persistent"}')
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    from json import dumps

    return dumps(value)


def __getattr__(name: str) -> object:
    if name == "Lifecycle":
        from compozy.provisioning.lifecycle import Lifecycle

        return Lifecycle
    raise AttributeError(f"module 'compozy' has no attribute {name!r}")
