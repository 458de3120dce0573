"""The deprecated chat proxy (contract 2.12)."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from emulator.http.models.common import wire
from emulator.wire.canned_completion import ChatMessage, Choice, Completion, Usage

for _answer in (ChatMessage, Choice, Usage, Completion):
    wire(_answer)


class CompletionRequest(BaseModel):
    """As OpenAI's; what is not used is ignored."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow", strict=True)

    messages: list[Any]
    model: str = "emulator"
    stream: bool = False
