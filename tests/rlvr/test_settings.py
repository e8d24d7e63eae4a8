"""Flags win over the environment, the environment over the YAML file, the file over the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from rlvr.cli import COMMANDS, main
from rlvr.settings import load_config
from trainer.config import TrainConfig
from verifiers import InputError


class Clip(BaseModel):
    """Clip range."""

    model_config = ConfigDict(extra="forbid")

    low: float = Field(default=0.2, description="Lower clip.")
    high: float = Field(default=0.28, description="Upper clip.")


class Example(BaseModel):
    """An example of a command's configuration."""

    model_config = ConfigDict(extra="forbid")

    data: Path = Field(description="Folder.")
    kind: Literal["a", "b"] = Field(default="a", description="Kind.")
    files: tuple[Path, ...] = Field(default=(), description="Files.")
    clip: Clip = Field(default_factory=Clip, description="Clip range.")


def load(*arguments: str, positionals: tuple[str, ...] = ("data",)) -> Example:
    return load_config(Example, arguments, command="example", positionals=positionals)


def test_each_source_wins_over_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("data: from-file\nkind: b\nclip: {low: 0.1, high: 0.5}\n")
    monkeypatch.setenv("RLVR_EXAMPLE_CLIP__HIGH", "0.6")
    monkeypatch.setenv("RLVR_EXAMPLE_CLIP__LOW", "0.3")
    config = load("--config", str(file), "--clip.low", "0.4")
    assert config == Example(data=Path("from-file"), kind="b", clip=Clip(low=0.4, high=0.6))


def test_a_positional_argument_may_stand_anywhere_or_come_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("data: from-file\n")
    assert load("--kind", "b", "here").data == Path("here")
    assert load("here", "--kind", "b").data == Path("here")
    assert load(f"--config={file}").data == Path("from-file")


def test_a_positional_argument_may_be_given_by_its_flag() -> None:
    assert load("--data", "here", "--kind", "b").data == Path("here")
    assert load("--data=here").data == Path("here")
    files = load("here", "--files", "a", "--files", "b", positionals=("data", "files")).files
    assert files == (Path("a"), Path("b"))
    assert load("here", "a", "b", positionals=("data", "files")).files == (Path("a"), Path("b"))


def test_only_given_fields_count_as_set() -> None:
    config = load("here", "--clip.low", "0.1")
    assert config.model_fields_set == {"data", "clip"}
    assert config.clip.model_fields_set == {"low"}


def test_the_result_is_the_plain_model() -> None:
    assert type(load("here")) is Example


def test_a_flag_beside_a_preset_changes_that_field_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("preset: grpo\nobjective: {dual_clip: 5.0}\n")
    arguments = ["--output", "run", "--config", str(file), "--objective.clip-low", "0.1"]
    config = load_config(TrainConfig, arguments, command="train")
    preset = TrainConfig(output=Path("run"), preset="grpo")
    assert config.objective == preset.objective.model_copy(update={"clip_low": 0.1, "dual_clip": 5.0})
    assert config.dynamic_sampling == preset.dynamic_sampling


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "data is missing"),
        (("x", "--clip.low", "much"), "clip.low"),
        (("x", "--kind", "c"), "kind"),
        (("x", "--no-such-field", "1"), "no-such-field"),
    ],
)
def test_a_wrong_field_is_one_line_that_names_it(arguments: tuple[str, ...], named: str) -> None:
    with pytest.raises(InputError) as caught:
        load(*arguments)
    message = str(caught.value)
    assert named in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: [1\n", "line 2"),
        ("- 1\n", "mapping"),
        ("date: x\n", "'date'"),
        ("data: x\nclip: {mid: 1}\n", "clip.mid"),
    ],
)
def test_a_bad_file_is_one_line_that_says_where(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load("--config", str(file))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def is_section(annotation: object) -> bool:
    """Whether a field is a model of its own, whose docstring heads its fields in the help."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_prints_every_field_of_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import importlib

    module, _, model = COMMANDS[name].config.partition(":")
    fields = getattr(importlib.import_module(module), model).model_fields
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out.lower().replace("-", "_")
    for field, info in fields.items():
        assert (info.alias or field) in printed, f"rlvr {name} --help does not print {field}"
        assert info.description or is_section(info.annotation), f"{name}.{field} has no description"


def test_an_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fly"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
