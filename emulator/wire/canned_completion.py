"""The canned chat completion, which replaces the vendor's models (contract 2.12 and 3.9)."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

CANNED_TEXT = "This is the emulator's canned completion; no model was asked."

_Text = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(ge=0)]


class ChatMessage(TypedDict):
    role: Literal["assistant"]
    content: _Text


class Choice(TypedDict):
    index: _Count
    message: ChatMessage
    finish_reason: NotRequired[Literal["stop"]]


class Usage(TypedDict):
    prompt_tokens: _Count
    completion_tokens: _Count
    total_tokens: _Count


class Completion(TypedDict):
    """A completion in OpenAI's form."""

    id: _Text
    object: Literal["chat.completion"]
    created: _Count
    model: _Text
    choices: list[Choice]
    usage: Usage


def completion(*, completion_id: str, created_seconds: int, model: str) -> Completion:
    """Return the canned completion."""
    message = ChatMessage(role="assistant", content=CANNED_TEXT)
    return Completion(
        id=completion_id,
        object="chat.completion",
        created=created_seconds,
        model=model,
        choices=[Choice(index=0, message=message, finish_reason="stop")],
        usage=Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0),
    )
