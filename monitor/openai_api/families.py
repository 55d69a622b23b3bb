"""Which endpoint serves a model: guessed from its name, corrected by what the API answers."""

import re
from enum import StrEnum


class Family(StrEnum):
    """The endpoint that serves a model."""

    CHAT = "chat/completions"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    COMPLETIONS = "completions"
    LOOK_UP = "models"
    """Images, sound, video, moderation, search: a call would cost real money or prove nothing, so the model is only looked up."""


_BY_NAME = (
    # The first row that fits: `gpt-4o-audio-preview` is no chat model, `gpt-5-pro` no ordinary one.
    (re.compile(r"embed"), Family.EMBEDDINGS),
    (
        re.compile(r"tts|whisper|transcribe|dall-e|image|sora|realtime|audio|voice|moderation|search-(?:preview|api)"),
        Family.LOOK_UP,
    ),
    (re.compile(r"davinci|babbage|-instruct"), Family.COMPLETIONS),
    (re.compile(r"^(?:o\d+|gpt-\d[\w.]*)-pro|codex|computer-use|deep-research"), Family.RESPONSES),
)


def guessed(model: str) -> Family:
    """The family that the name suggests. A fine-tune is served like its base; the rest of its name is anybody's."""
    name = model.lower()
    if name.startswith("ft:"):
        name = name.split(":")[1]
    return next((family for pattern, family in _BY_NAME if pattern.search(name)), Family.CHAT)


_SERVED_BY = re.compile(
    r"(?:only (?:supported|available) (?:in|on|with|via|through)|did you mean to use|please use|try using|use) (?:the )?"
    r"[`'\"]?/?v1/(chat/completions|completions|responses|embeddings)\b",
    re.IGNORECASE,
)


def told(body: bytes) -> Family | None:
    """The family that a refusal names, as in `This model is only supported in v1/responses …`, or None."""
    found = _SERVED_BY.search(body[:4000].decode("utf-8", "replace"))
    return Family(found[1].lower()) if found else None
