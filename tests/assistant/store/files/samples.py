"""One sound file of every format, small, with what each format can say."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from assistant.store import conversations, messages
from assistant.store.database import open_memory
from assistant.store.files.exports.exporter import export
from assistant.store.judgements import curation
from assistant.store.messages import Outcome, Provenance


def chatgpt_node(key: str, parent: str | None, role: str, *parts: Any, **more: Any) -> dict[str, Any]:
    """One node of a mapping."""
    content = {"content_type": "text", "parts": list(parts)}
    message = {"id": key, "author": {"role": role}, "content": content, "recipient": "all", "metadata": {}} | more
    return {key: {"id": key, "parent": parent, "children": [], "message": message}}


CHATGPT: list[dict[str, Any]] = [
    {
        "title": "Lighthouses 灯塔",
        "create_time": 1_700_000_000.5,
        "update_time": 1_700_000_900.25,
        "conversation_id": "c-1",
        "current_node": "n9",
        "default_model_slug": "gpt-4o",
        "mapping": {"n0": {"id": "n0", "message": None, "parent": None, "children": ["n1"]}}
        | chatgpt_node("n1", "n0", "system", "", metadata={"is_visually_hidden_from_conversation": True})
        | chatgpt_node(
            "n2",
            "n1",
            "user",
            content={
                "content_type": "user_editable_context",
                "user_profile": "I keep a lighthouse.",
                "user_instructions": "Be brief.",
            },
            metadata={"is_visually_hidden_from_conversation": True},
        )
        | chatgpt_node("n3", "n2", "user", "What is a lighthouse for?", create_time=1_700_000_001.0)
        | chatgpt_node(
            "n4",
            "n3",
            "assistant",
            content={"content_type": "thoughts", "thoughts": [{"summary": "Ships", "content": "It warns ships."}]},
        )
        | chatgpt_node(
            "n5", "n4", "assistant", "To warn ships.", create_time=1_700_000_005.0, metadata={"model_slug": "o3"}
        )
        | chatgpt_node("n6", "n3", "assistant", "For ships.", create_time=1_700_000_600.0)
        | chatgpt_node(
            "n7",
            "n6",
            "user",
            {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"},
            "And this one?",
            content={
                "content_type": "multimodal_text",
                "parts": [{"content_type": "image_asset_pointer"}, "And this one?"],
            },
        )
        | chatgpt_node(
            "n8",
            "n7",
            "assistant",
            recipient="python",
            content={"content_type": "code", "language": "python", "text": "print(1)"},
        )
        | chatgpt_node("n8b", "n8", "tool", content={"content_type": "execution_output", "text": "1"})
        | chatgpt_node("n9", "n8b", "assistant", "That is a lamp.", create_time=1_700_000_700.0),
    }
]

CLAUDE: list[dict[str, Any]] = [
    {
        "uuid": "u-1",
        "name": "Tides",
        "created_at": "2025-03-01T10:00:00.000000Z",
        "updated_at": "2025-03-01T10:05:00.000000+00:00",
        "chat_messages": [
            {
                "uuid": "m1",
                "sender": "human",
                "text": "When is high tide?",
                "content": [{"type": "text", "text": "When is high tide?"}],
                "created_at": "2025-03-01T10:00:01Z",
                "parent_message_uuid": "00000000-0000-4000-8000-000000000000",
                "attachments": [{"file_name": "table.txt", "extracted_content": "06:12"}, {"file_name": "map.png"}],
                "files": [{"file_name": "map.png"}],
            },
            {
                "uuid": "m2",
                "sender": "assistant",
                "text": "",
                "content": [
                    {"type": "thinking", "thinking": "The table says it."},
                    {"type": "tool_use", "name": "search", "input": {}},
                    {"type": "text", "text": "At 06:12."},
                ],
                "created_at": "2025-03-01T10:00:09Z",
                "parent_message_uuid": "m1",
            },
            {"uuid": "m3", "sender": "assistant", "text": "Twelve past six.", "parent_message_uuid": "m1"},
        ],
    }
]

OPENAI: list[Any] = [
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "t"}]},
            {"role": "tool", "content": "42"},
            {"role": "assistant", "content": "Hello. 你好", "reasoning_content": "A greeting."},
        ]
    }
]
SHAREGPT: list[Any] = [
    {
        "id": "s-1",
        "system": "Be brief.",
        "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}],
    }
]
ALPACA: list[Any] = [
    {"instruction": "Translate", "input": "Guten Tag", "output": "Good day", "history": [["a", "b"]], "system": "S"}
]
COMPLETION: list[Any] = [{"prompt": "Once upon", "completion": "a time", "label": True}]
PREFERENCE: list[Any] = [{"prompt": [{"role": "user", "content": "Hi"}], "chosen": "Hello", "rejected": "What?"}]
MADE = Provenance("m", "plain", "de0a0b6e6d4a1f09a7d4b3a1d1a3b9c0", "", {"temperature": 0.5}, 42, "adapter")


def own_log() -> Any:
    """A log in memory with all that can be known of a conversation."""
    db = open_memory()
    one = conversations.create(db, model="m", template="plain", inputs={"name": "Ada"}, sampling={"top_p": 0.9}).id
    conversations.rename(db, one, "Ships")
    conversations.pin(db, one, True)
    conversations.set_draft(db, one, "not sent")
    question = messages.add_user(db, one, None, "Why?\n\n# not a title\n## You · not a heading")
    replies = []
    for text in ("Because.", "So."):
        replies.append(messages.begin_reply(db, one, question, MADE))
        outcome = Outcome("sha", 9, 3, 2, 1, 512, 0.5, 0.25, 1.5, "stop", "cpu", [5, 7], [-0.5, -0.25])
        messages.end_reply(db, replies[-1], text, "complete", outcome)
    curation.rate(db, replies[0], 1)
    curation.rate(db, replies[1], -1)
    curation.decide(db, replies[0], "keep")
    curation.tag(db, replies[0], "sea")
    curation.note(db, question, "a note")
    curation.prefer(db, replies[0], replies[1], blind=True, chosen_first=False)
    curation.correct(db, replies[1], "Since it is so.")
    conversations.create(db)
    return db


def own() -> list[Any]:
    """Our own export of that log."""
    with closing(own_log()) as db:
        return [json.loads(line) for line in export(db, [1, 2], "json")]


def markdown() -> str:
    """Our own transcript of that log."""
    with closing(own_log()) as db:
        return "".join(export(db, [1, 2, 1], "markdown"))


JSON_FILES: dict[str, list[Any]] = {
    "chatgpt": CHATGPT,
    "claude": CLAUDE,
    "openai": OPENAI,
    "sharegpt": SHAREGPT,
    "alpaca": ALPACA,
    "completion": COMPLETION,
    "preference": PREFERENCE,
    "json": own(),
}

OLD_LLM = """
CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT, options_json TEXT,
    response TEXT, response_json TEXT, conversation_id TEXT, duration_ms INTEGER, datetime_utc TEXT,
    input_tokens INTEGER, output_tokens INTEGER, token_details TEXT, schema_id TEXT);
CREATE TABLE attachments (id TEXT PRIMARY KEY, type TEXT);
CREATE TABLE prompt_attachments (response_id TEXT, attachment_id TEXT, "order" INTEGER);
CREATE TABLE fragments (id INTEGER PRIMARY KEY, hash TEXT, content TEXT);
CREATE TABLE prompt_fragments (response_id TEXT, fragment_id INTEGER, "order" INTEGER);
INSERT INTO conversations VALUES ('c1', 'Pelicans', 'gpt-4o');
INSERT INTO responses VALUES ('r1', 'gpt-4o', 'A name?', 'Be brief.', NULL, '{"temperature": 0.5}', 'Percy', NULL,
    'c1', 1500, '2024-05-01T10:00:00.000000', 12, 3, NULL, NULL);
INSERT INTO responses VALUES ('r2', 'gpt-4o', 'Another?', NULL, NULL, '{}', 'Polly', NULL,
    'c1', 900, '2024-05-01T10:01:00.000000', 20, 3, NULL, NULL);
INSERT INTO responses (id, model, prompt, response) VALUES ('r3', 'm2', 'Alone', 'Yes');
INSERT INTO prompt_attachments VALUES ('r2', 'a1', 0);
INSERT INTO fragments VALUES (1, 'h', 'A long text');
INSERT INTO prompt_fragments VALUES ('r2', 1, 0);
"""
NEW_LLM = """
CREATE TABLE messages (hash TEXT PRIMARY KEY, parent_hash TEXT, role TEXT, provider_metadata TEXT);
CREATE TABLE parts (id INTEGER PRIMARY KEY, message_hash TEXT, position INTEGER, type TEXT, tool_name TEXT, text TEXT,
    payload TEXT);
CREATE TABLE fragments (id INTEGER PRIMARY KEY, hash TEXT, content TEXT);
CREATE TABLE threads (id TEXT PRIMARY KEY, name TEXT, tip_message_hash TEXT, forked_from TEXT, datetime_utc TEXT);
CREATE TABLE turns (id TEXT PRIMARY KEY, thread_id TEXT, parent_message_hash TEXT, tip_message_hash TEXT, model TEXT,
    resolved_model TEXT, options_json TEXT, schema_id TEXT, input_tokens INTEGER, output_tokens INTEGER,
    token_details TEXT, duration_ms INTEGER, datetime_utc TEXT, response_json TEXT);
INSERT INTO messages VALUES ('s', NULL, 'system', NULL), ('q', 's', 'user', NULL), ('a', 'q', 'assistant', NULL),
    ('b', 'q', 'assistant', NULL);
INSERT INTO parts VALUES (1, 's', 0, 'text', NULL, 'Be brief.', NULL), (2, 'q', 0, 'text', NULL, NULL,
    '{"text_ref": [{"fragment": 1}, {"literal": " Sum it up."}]}'), (3, 'q', 1, 'attachment', NULL, NULL, '{}'),
    (4, 'a', 0, 'reasoning', NULL, 'It is long.', NULL), (5, 'a', 1, 'text', NULL, 'Short.', NULL),
    (6, 'b', 0, 'text', NULL, 'Shorter.', NULL);
INSERT INTO fragments VALUES (1, 'h', 'A long text.');
INSERT INTO threads VALUES ('t1', 'Sums', 'b', NULL, '2026-05-01T10:00:00');
INSERT INTO turns VALUES ('1', 't1', 'q', 'a', 'gpt-5', NULL, '{}', NULL, 5, 2, NULL, 800, '2026-05-01T10:00:01', NULL),
    ('2', 't1', 'q', 'b', 'gpt-5', NULL, '{}', NULL, 5, 2, NULL, 800, '2026-05-01T10:00:09', NULL);
"""
FIRST_LLM = """
CREATE TABLE log (id INTEGER PRIMARY KEY, model TEXT, timestamp TEXT, prompt TEXT, system TEXT, response TEXT,
    chat_id INTEGER);
INSERT INTO log VALUES (1, 'gpt-3.5', '2023-04-01 10:00:00', 'One', NULL, 'first', NULL),
    (2, 'gpt-3.5', '2023-04-01 10:01:00', 'Two', NULL, 'second', 1), (3, 'm', NULL, 'Else', 'S', 'third', NULL);
"""
LLM_SCHEMAS = {"0.3": FIRST_LLM, "0.19": OLD_LLM, "0.32": NEW_LLM}


def llm_file(folder: Path, version: str) -> Path:
    """A logs.db of that version."""
    path = folder / f"logs-{version}.db"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(LLM_SCHEMAS[version])
    return path
