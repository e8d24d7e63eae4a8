"""One pydantic model per command, filled from flags, the environment and a YAML file, in this order."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, get_origin

import yaml
from pydantic import BaseModel, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    CliPositionalArg,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError

from verifiers import InputError

Config = TypeVar("Config", bound=BaseModel)


class _ValuesSource(PydanticBaseSettingsSource):
    """Values that are already read, as a source of settings."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self.values = values

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self.values


_EPILOG = (
    "Every field can also stand in a YAML file (--config FILE) or in the environment (RLVR_{}_FIELD, "
    "a nested field with two underscores). Flags win over the environment, the environment over the file. "
    "A list takes its flag several times, or one value with commas."
)


class _Parser(argparse.ArgumentParser):
    """argparse with one-line errors."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message} (`{self.prog} --help` lists every field)")


def _add_argument(parser: argparse._ActionsContainer, *names: Any, **options: Any) -> argparse.Action:
    """Let a positional argument be left out: the environment or the file may give it."""
    if names and not names[0].startswith("-"):
        options["nargs"] = options.get("nargs") or "?"
    return parser.add_argument(*names, **options)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; errors name the file and, where YAML gives it, the line."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where is not None else ""
        raise InputError(f"{path}{line}: not valid YAML: {getattr(error, 'problem', error)}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping of field names to values, got {type(values).__name__}")
    return values


def take_flags(arguments: Sequence[str], names: Collection[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Take `--NAME VALUE` and `--NAME=VALUE` out of the arguments; returns the values by name, and the rest."""
    flags = {f"--{name.replace('_', '-')}": name for name in names}
    taken: dict[str, list[str]] = {}
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        flag, separator, value = argument.partition("=")
        if flag not in flags:
            rest.append(argument)
            continue
        given = value if separator else next(waiting, None)
        if given is None:
            raise InputError(f"{flag} needs a value")
        taken.setdefault(flags[flag], []).append(given)
    return taken, rest


def load_config(
    model: type[Config], arguments: Sequence[str], *, command: str, positionals: Sequence[str] = ()
) -> Config:
    """Fill `model` from `arguments`, then `RLVR_<COMMAND>_<FIELD>` (nested: `__`), then `--config` YAML.

    `positionals` names the fields that may also be given without their flag. Raises InputError, one line that
    names each wrong field; `--help` prints every field and exits.
    """
    taken, flags = take_flags(arguments, {"config", *positionals})
    config_file = Path(taken.pop("config")[-1]) if "config" in taken else None
    named = {
        name: given if get_origin(model.model_fields[name].annotation) in (list, tuple) else given[-1]
        for name, given in taken.items()
    }
    values = read_yaml(config_file) if config_file is not None else {}
    known_names = {field.alias or name for name, field in model.model_fields.items()}
    unknown = sorted(values.keys() - known_names)
    if unknown:
        known = ", ".join(sorted(known_names))
        raise InputError(f"{config_file}: unknown field {unknown[0]!r}; the fields are {known}")

    class Sources(BaseSettings):
        model_config = SettingsConfigDict(
            env_prefix=f"RLVR_{command.upper()}_",
            env_nested_delimiter="__",
            cli_prog_name=f"rlvr {command}",
            cli_kebab_case=True,
            cli_implicit_flags=True,
            cli_hide_none_type=True,
            cli_avoid_json=True,
            extra="forbid",
            protected_namespaces=(),
        )

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *defaults: Any, **others: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            parser = _Parser(
                prog=f"rlvr {command}",
                usage=" ".join([f"rlvr {command}", *(name.upper() for name in positionals), "[OPTIONS]"]),
                description=model.__doc__,
                epilog=_EPILOG.format(command.upper()),
            )
            from_flags = CliSettingsSource[Any](
                settings_cls, cli_parse_args=flags, root_parser=parser, add_argument_method=_add_argument
            )
            return (
                _ValuesSource(settings_cls, named),
                from_flags,
                others["env_settings"],
                _ValuesSource(settings_cls, values),
            )

    positional: Any = CliPositionalArg
    overrides: dict[str, Any] = {}
    for name in positionals:
        field = model.model_fields[name]
        overrides[name] = (Annotated[positional[field.annotation], field], field)
    filled = create_model(model.__name__, __base__=(model, Sources), __doc__=model.__doc__, **overrides)
    try:
        settings = filled()
    except ValidationError as error:
        raise InputError(describe_errors(error, command)) from error
    except SettingsError as error:
        raise InputError(str(error)) from error
    fields = model.model_fields
    return model(
        **{fields[name].alias or name: getattr(settings, name) for name in settings.model_fields_set}
    )


def describe_errors(error: ValidationError, command: str) -> str:
    """One line for each wrong field: its name, what was given, what is expected."""
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"]) or "configuration"
        if problem["type"] == "missing":
            lines.append(f"{name} is missing: give --{name.replace('_', '-')} or set it in the --config file")
        else:
            given = repr(problem["input"])
            lines.append(f"{name}: {problem['msg'].removeprefix('Value error, ')} (got {given[:80]})")
    return f"rlvr {command}: " + "; ".join(lines)
