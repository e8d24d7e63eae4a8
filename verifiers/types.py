"""What the verifiers take and give: a problem, a verdict, and the protocol between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

Status = Literal["correct", "incorrect", "no_answer", "timeout", "error"]
"""How a verification ended.

`correct` and `incorrect` judge the answer; `no_answer` says that the response holds none that can be
read, which counts as wrong. `timeout` and `error` are failures of the verifier itself: they say nothing
about the response, and whoever uses the reward leaves such a sample out and counts it.
"""


class Message(TypedDict):
    """One chat message, as the chat templates of transformers and the OpenAI API take it."""

    role: str
    content: str


class InputError(ValueError):
    """Bad input from outside: the message is one line that says what is wrong, where, and what to do."""


class Problem(BaseModel):
    """A prompt and what decides whether a response to it is right."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    prompt: str | tuple[Message, ...] = ""
    answer: str | None = Field(default=None, description="Gold answer, canonical; None for code problems.")
    tests: JsonValue = Field(
        default=None, description="Tests of a code problem; the code verifier reads them."
    )
    verifier: str = Field(default="math", description="Registered name of the verifier that decides.")
    source: str = ""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


def _writable(text: str) -> str:
    """`text` with lone surrogates spelled out: a response may hold them, and neither JSON nor Parquet can."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


Text = Annotated[str, AfterValidator(_writable)]


class Verdict(BaseModel):
    """What a verifier decided about one response, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reward: float = Field(
        description="+1 for correct and -1 otherwise, unless a composition says another value."
    )
    status: Status
    extracted: Text | None = Field(
        default=None, description="The final answer as it was read from the response."
    )
    method: Text = Field(default="", description="The rule that decided.")
    detail: Text = Field(default="", description="One sentence for a person.")
    seconds: float = Field(default=0.0, description="Wall time of this verification in seconds.")
    parts: Mapping[str, Verdict] = Field(
        default_factory=dict, description="Verdicts of a composition's parts."
    )

    @property
    def correct(self) -> bool:
        """Whether the response was found right."""
        return self.status == "correct"

    @property
    def failed(self) -> bool:
        """Whether the verifier itself failed, so that the reward says nothing about the response."""
        return self.status in ("timeout", "error")


@runtime_checkable
class Verifier(Protocol):
    """Turns a response into a verdict.

    Implementations are safe to call from several threads, picklable (worker processes receive a copy) and
    deterministic: the same response and problem give the same verdict up to `seconds`.
    """

    @property
    def name(self) -> str:
        """Short name, as the registry and the parts of a composition have it."""
        ...

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Judge `response` against `problem`; a string stands for a problem with that gold answer."""
        ...


VerifierOptions = Mapping[str, Any]
