"""What the README tells a new user holds: examples run, settings are accepted, links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
import yaml

from curation.config import CurateConfig
from rlvr.cli import COMMANDS
from trainer.config import TrainConfig

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.S | re.M)


def test_every_command_is_described_and_no_other() -> None:
    table = README[README.index("| command |") :]
    assert re.findall(r"^\| `rlvr (\w+)`", table, re.M) == list(COMMANDS)
    assert set(re.findall(r"\brlvr ([a-z]+)\b", README)) - {"as"} <= COMMANDS.keys() | {"doctor"}


def test_the_scoring_example_prints_what_its_comments_say() -> None:
    [example] = [block for block in blocks("python") if "from verifiers" in block]
    expected = [comment.strip() for comment in re.findall(r"print\(.*\)\s+# (.*)", example)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    assert printed.getvalue().splitlines() == expected


@pytest.mark.parametrize(("name", "model"), [("curate.yaml", CurateConfig), ("train.yaml", TrainConfig)])
def test_the_settings_are_accepted(name: str, model: type[CurateConfig] | type[TrainConfig]) -> None:
    [text] = [block for block in blocks("yaml") if block.startswith(f"# {name}")]
    model.model_validate(yaml.safe_load(text))


def test_links_and_pictures_are_there() -> None:
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target.split("#")[0]).exists()] == []


def test_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z-]+)\b", README)):
        assert re.search(rf"^{target}:", makefile, re.M), f"make {target}"
