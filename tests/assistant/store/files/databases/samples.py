"""Small databases of oterm and Ollama, in the schemas of several of their versions."""

import sqlite3
from contextlib import closing
from pathlib import Path

OTERM_OLD = """
CREATE TABLE chat (id INTEGER PRIMARY KEY, name TEXT, model TEXT NOT NULL, context TEXT, system TEXT);
CREATE TABLE message (chat_id INTEGER NOT NULL, author TEXT NOT NULL, text TEXT NOT NULL);
INSERT INTO chat VALUES (1, 'Fjords', 'm', '[]', 'Be brief.');
INSERT INTO message VALUES (1, 'me', 'What is a fjord?'), (1, 'ollama', 'An inlet.'), (1, 'other', 'x');
"""
OTERM = """
CREATE TABLE chat (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, model TEXT NOT NULL, system TEXT,
    provider TEXT DEFAULT 'ollama', parameters TEXT DEFAULT '{}', tools TEXT DEFAULT '[]', thinking BOOLEAN DEFAULT 0);
CREATE TABLE message (id INTEGER PRIMARY KEY AUTOINCREMENT, chat_id INTEGER NOT NULL, author TEXT NOT NULL,
    text TEXT NOT NULL, images TEXT DEFAULT '[]', FOREIGN KEY (chat_id) REFERENCES chat(id) ON DELETE CASCADE);
INSERT INTO chat (id, name, model, system, tools) VALUES
    (1, 'Fjords', 'm', 'Be brief.', '["shell"]'), (2, '', 'n', NULL, '[]');
INSERT INTO message (chat_id, author, text, images) VALUES (1, 'user', 'What is a fjord?', '["aGk=", "aGk="]'),
    (2, 'user', 'Hi', '[]'), (1, 'assistant', 'An inlet.', '[]'), (2, 'assistant', 'Hello.', '[]'),
    (9, 'user', 'of a chat that was deleted', '[]');
"""
OLLAMA = """
CREATE TABLE settings (id INTEGER PRIMARY KEY, schema_version INTEGER NOT NULL DEFAULT 18);
CREATE TABLE chats (id TEXT PRIMARY KEY, title TEXT NOT NULL DEFAULT '', created_at TIMESTAMP, browser_state TEXT);
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, chat_id TEXT NOT NULL, role TEXT NOT NULL,
    content TEXT NOT NULL DEFAULT '', thinking TEXT NOT NULL DEFAULT '', stream BOOLEAN NOT NULL DEFAULT 0,
    model_name TEXT, created_at TIMESTAMP, updated_at TIMESTAMP, thinking_time_start TIMESTAMP, tool_result TEXT);
CREATE TABLE tool_calls (id INTEGER PRIMARY KEY, message_id INTEGER NOT NULL, type TEXT, function_name TEXT,
    function_arguments TEXT, function_result TEXT);
CREATE TABLE attachments (id INTEGER PRIMARY KEY, message_id INTEGER NOT NULL, filename TEXT, data BLOB NOT NULL);
INSERT INTO chats (id, title, created_at) VALUES
    ('a', 'Fjords', '2026-01-02 03:04:05.123456789+00:00'), ('b', '', NULL);
INSERT INTO messages (chat_id, role, content, thinking, model_name, created_at) VALUES
    ('a', 'user', 'What is a fjord?', '', '', '2026-01-02 03:04:06+00:00'), ('b', 'user', 'Hi', '', '', NULL),
    ('a', 'assistant', '', '', 'm', NULL), ('a', 'tool', 'found', '', '', NULL),
    ('a', 'assistant', 'An inlet.', 'Ice.', 'm', '2026-01-02 03:04:09+00:00'),
    ('b', 'assistant', 'Hello.', '', 'n', NULL);
INSERT INTO tool_calls (message_id, type, function_name, function_arguments) VALUES (3, 'function', 'search', '{}');
INSERT INTO attachments (message_id, filename, data) VALUES (1, 'map.png', x'00');
"""
SCHEMAS = {"oterm-old": OTERM_OLD, "oterm": OTERM, "ollama": OLLAMA}


def database(folder: Path, name: str) -> Path:
    """The database of that name, new."""
    path = folder / f"{name}.db"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMAS[name])
    return path
