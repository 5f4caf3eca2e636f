"""A real corpus as a file of conversations."""

import json
from pathlib import Path

from tests.assistant.store.files.test_corpus import said


def write(file: Path, language: str = "english", most: int = 10_000) -> Path:
    """Each of its conversations once, in OpenAI's format."""
    conversations = list(dict.fromkeys(tuple(one) for one in said(language)))[:most]
    with file.open("w", encoding="utf-8") as lines:
        for one in conversations:
            turns = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(one)]
            lines.write(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")
    return file
