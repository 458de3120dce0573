"""The canned chat completion: what stands in for the vendor's own models (contract 2.12 and 3.9)."""

from typing import Any

CANNED_TEXT = "This is the emulator's canned completion; no model was asked."


def completion(*, completion_id: str, created_seconds: int, model: str) -> dict[str, Any]:
    """A completion in OpenAI's form."""
    choice = {"index": 0, "message": {"role": "assistant", "content": CANNED_TEXT}, "finish_reason": "stop"}
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": created_seconds,
        "model": model,
        "choices": [choice],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
