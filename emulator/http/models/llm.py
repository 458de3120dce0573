"""The deprecated chat proxy (contract 2.12)."""

from typing import Any, ClassVar, Literal, NotRequired

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from emulator.http.models.common import Count, Text, wire


@wire
class ChatMessage(TypedDict):
    role: Literal["assistant"]
    content: Text


@wire
class Choice(TypedDict):
    index: Count
    message: ChatMessage
    finish_reason: NotRequired[Literal["stop"]]


@wire
class Usage(TypedDict):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count


@wire
class Completion(TypedDict):
    id: Text
    object: Literal["chat.completion"]
    created: Count
    model: Text
    choices: list[Choice]
    usage: Usage


class CompletionRequest(BaseModel):
    """As OpenAI's; what is not used is ignored."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow", strict=True)

    messages: list[Any]
    model: str = "emulator"
    stream: bool = False
