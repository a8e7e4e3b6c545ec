"""Read a file of 61 keys with Compozy and with configuration libraries, in the same run.

Ours gives positions, origins, derived values and findings with suggestions; the others types and choices.
The rule tables are warm: they are read and verified once a process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Literal

import yaml

from benchmarks.measurement import Measurement, median_s
from compozy.explain.value import explain
from compozy.resolution.configuration import Configuration, load_configuration
from compozy.resolution.resolve import Resolved, resolve
from compozy.resolution.validate import validate
from compozy.rulebook import load_rulebook
from compozy.settings.machine import probe_facts
from compozy.settings.registry import Setting
from compozy.settings.validator import SettingValidator, cerberus_schema

FILE = str(Path(__file__).parent / "sixty-one-keys.yaml")
REGISTRY = load_rulebook().registry
REPEATS = 5
TYPES: Mapping[str, type] = {"integer": int, "number": float, "boolean": bool, "list": list, "map": dict}
Tree = dict[str, Any]


def run(short: bool) -> list[Measurement]:
    """Return the measurements in milliseconds; `short` takes fewer rounds."""
    rounds = 8 if short else 40
    facts = probe_facts(REGISTRY)
    loaded = _ours_loaded()
    resolved = resolve(loaded, facts)
    steps: Mapping[str, Callable[[], object]] = {
        "load, resolve and validate 61 keys": lambda: validate(resolve(_ours_loaded(), facts)),
        "of it: load": _ours_loaded,
        "of it: resolve": lambda: resolve(loaded, facts),
        "of it: validate": lambda: validate(resolved),
    }
    libraries = {name: library() for name, library in LIBRARIES.items()}
    found = {name: seconds * 1e3 for name, seconds in _medians({**steps, **libraries}, rounds).items()}
    whole, *parts = steps
    compared = [Measurement(whole, found[whole], "ms", name, found[name]) for name in libraries]
    parted = [Measurement(name, found[name], "ms", "all three", found[whole]) for name in parts]
    return [*compared, *parted, _explained(resolved)]


def _medians(steps: Mapping[str, Callable[[], object]], rounds: int) -> Mapping[str, float]:
    """Return the median of each in seconds; they take turns, so that a busy moment of the machine hits all of them.

    Each turn begins with a call that does not count, because the step before it has emptied the caches.
    """
    times: Mapping[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(median_s(step, REPEATS))
    return {name: median(taken) for name, taken in times.items()}


def _ours_loaded() -> Configuration:
    return load_configuration(file=FILE, environment={})


def _explained(resolved: Resolved) -> Measurement:
    took = median_s(lambda: explain(resolved, "database.path"), 30) * 1e3
    return Measurement("explain one key", took, "ms", "target", 1.0)


def _tree(setting_value: Callable[[Setting], Any]) -> Tree:
    """Return the settings of the file as nested mappings with the result of `setting_value` for each."""
    root: Tree = {}
    for path in _paths(yaml.safe_load(Path(FILE).read_text(encoding="utf-8")), ""):
        *groups, key = path.split(".")
        here = root
        for group in groups:
            here = here.setdefault(group, {})
        here[key] = setting_value(REGISTRY.settings[path])
    return root


def _paths(document: Tree, prefix: str) -> Iterator[str]:
    for key, value in document.items():
        if prefix + key in REGISTRY.settings:
            yield prefix + key
        else:
            yield from _paths(value, f"{prefix}{key}.")


def _type(setting: Setting) -> Any:
    return Literal[setting.values] if setting.type == "choice" else TYPES.get(setting.type, str)


def _cerberus() -> Callable[[], object]:
    flat = cerberus_schema(load_rulebook().registry.settings)

    def rules(setting: Setting) -> Tree:
        return {"type": "text", "nullable": True} if setting.type == "duration" else flat[setting.path]

    validator = SettingValidator(_nested(_tree(rules)))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    def read() -> None:
        if not validator.validate(yaml.load(Path(FILE).read_bytes(), Loader=loader)):
            raise SystemExit(f"cerberus refuses the file: {validator.errors}")

    return read


def _nested(tree: Tree) -> Tree:
    """Return groups in cerberus's words; what has rules already is a setting."""
    return {
        key: value if "nullable" in value else {"type": "dict", "schema": _nested(value)} for key, value in tree.items()
    }


def _pydantic() -> Callable[[], object]:
    from pydantic import create_model
    from pydantic_settings import BaseSettings, SettingsConfigDict, YamlConfigSettingsSource

    def model(name: str, tree: Tree, base: Any = None) -> Any:
        kinds = {key: model(key, value) if isinstance(value, dict) else value for key, value in tree.items()}
        fields: Tree = {key: (kind, ...) for key, kind in kinds.items()}
        return create_model(name, __base__=base, **fields)

    class Base(BaseSettings):
        model_config = SettingsConfigDict(yaml_file=FILE, extra="forbid")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: Any,
            init_settings: Any,
            env_settings: Any,
            dotenv_settings: Any,
            file_secret_settings: Any,
        ) -> Any:
            return (env_settings, dotenv_settings, YamlConfigSettingsSource(settings_cls))

    return model("Configured", _tree(_type), Base)  # type: ignore[no-any-return]


def _dynaconf() -> Callable[[], object]:
    from dynaconf import Dynaconf, Validator

    checks = {setting.path: TYPES.get(setting.type, str) for setting in REGISTRY.settings.values()}
    paths = list(_paths(yaml.safe_load(Path(FILE).read_text(encoding="utf-8")), ""))

    def read() -> None:
        validators = [Validator(path, must_exist=True, is_type_of=checks[path]) for path in paths]
        Dynaconf(settings_files=[FILE], validators=validators, environments=False).validators.validate_all()

    return read


def _omegaconf() -> Callable[[], object]:
    from omegaconf import MISSING, OmegaConf

    def record(name: str, tree: Tree) -> type:
        fields = []
        for key, value in tree.items():
            kind = record(f"{name}_{key}", value) if isinstance(value, dict) else value
            default = dataclasses.field(default_factory=kind) if isinstance(value, dict) else MISSING
            fields.append((key, kind, default))
        return dataclasses.make_dataclass(name, fields)

    schema = record("Configured", _tree(lambda setting: TYPES.get(setting.type, str)))

    def read() -> object:
        return OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.load(FILE)))

    return read


LIBRARIES: Mapping[str, Callable[[], Callable[[], object]]] = {
    "cerberus with PyYAML's C loader": _cerberus,
    "pydantic-settings with YAML": _pydantic,
    "dynaconf with validators": _dynaconf,
    "OmegaConf, structured": _omegaconf,
}
