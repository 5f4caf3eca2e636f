"""The schema, as the steps that led to it. Append only: a step that has landed never changes.

Times are integer milliseconds UTC. Messages form a tree by `parent_id`; a conversation remembers the leaf that is
open. What a reply was made with and how it went lies beside the message, so that reading a conversation stays small.
"""

from sqlite_utils import Database, Migrations

migrations = Migrations("assistant")


@migrations()
def conversations_messages_and_replies(db: Database) -> None:
    """Chat from nothing: what was said, and how each reply came about."""
    for statement in _FIRST_SCHEMA.split(";\n"):
        db.conn.execute(statement)


_FIRST_SCHEMA = """
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL DEFAULT '',
    title_is_automatic INTEGER NOT NULL DEFAULT 1,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    pinned INTEGER NOT NULL DEFAULT 0,
    deleted_ms INTEGER,
    model TEXT NOT NULL DEFAULT '',
    template TEXT NOT NULL DEFAULT '',
    inputs TEXT NOT NULL DEFAULT '{}',
    sampling TEXT NOT NULL DEFAULT '{}',
    draft TEXT NOT NULL DEFAULT '',
    leaf_id INTEGER REFERENCES messages(id) ON DELETE SET NULL
);
CREATE INDEX conversations_listed ON conversations(pinned DESC, updated_ms DESC, id DESC) WHERE deleted_ms IS NULL;
CREATE INDEX conversations_deleted ON conversations(deleted_ms) WHERE deleted_ms IS NOT NULL;
CREATE INDEX conversations_leaf ON conversations(leaf_id);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id INTEGER NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
    parent_id INTEGER REFERENCES messages(id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    content TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('complete', 'growing', 'cut', 'stopped', 'interrupted', 'failed')),
    error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX messages_children ON messages(conversation_id, parent_id, id);
CREATE INDEX messages_parent ON messages(parent_id);
CREATE INDEX messages_growing ON messages(updated_ms) WHERE state = 'growing';
CREATE TABLE templates (
    hash TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    first_used_ms INTEGER NOT NULL
);
CREATE TABLE replies (
    message_id INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,
    model TEXT NOT NULL,
    adapter_hash TEXT NOT NULL DEFAULT '',
    template_hash TEXT NOT NULL REFERENCES templates(hash),
    sampling TEXT NOT NULL,
    seed INTEGER,
    model_hash TEXT NOT NULL DEFAULT '',
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    dropped_messages INTEGER NOT NULL DEFAULT 0,
    context_tokens INTEGER NOT NULL DEFAULT 0,
    load_s REAL NOT NULL DEFAULT 0,
    first_token_s REAL NOT NULL DEFAULT 0,
    total_s REAL NOT NULL DEFAULT 0,
    finish_reason TEXT NOT NULL DEFAULT '',
    device TEXT NOT NULL DEFAULT '',
    token_ids BLOB NOT NULL DEFAULT x'',
    logprobs BLOB NOT NULL DEFAULT x''
);
CREATE INDEX replies_template ON replies(template_hash);
CREATE TABLE state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
)
"""


@migrations()
def curation_and_origin(db: Database) -> None:
    """What a person thinks of what was said, every such act undoable, and where an imported conversation came from."""
    for statement in _CURATION.split(";\n"):
        db.conn.execute(statement)


_CURATION = """
ALTER TABLE messages ADD COLUMN corrects_id INTEGER REFERENCES messages(id) ON DELETE SET NULL;
ALTER TABLE messages ADD COLUMN source_id TEXT;
CREATE INDEX messages_corrections ON messages(corrects_id) WHERE corrects_id IS NOT NULL;
ALTER TABLE conversations ADD COLUMN system TEXT NOT NULL DEFAULT '';
ALTER TABLE conversations ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE conversations ADD COLUMN source_id TEXT NOT NULL DEFAULT '';
ALTER TABLE conversations ADD COLUMN content_hash TEXT;
CREATE UNIQUE INDEX conversations_imported ON conversations(content_hash) WHERE content_hash IS NOT NULL;
CREATE TABLE judgements (
    message_id INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,
    rating INTEGER NOT NULL DEFAULT 0 CHECK (rating IN (-1, 0, 1)),
    decision TEXT NOT NULL DEFAULT 'undecided' CHECK (decision IN ('undecided', 'keep', 'skip')),
    note TEXT NOT NULL DEFAULT ''
);
CREATE TABLE tags (
    message_id INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (message_id, tag)
);
CREATE INDEX tags_tag ON tags(tag, message_id);
CREATE TABLE preferences (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    chosen_id INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
    rejected_id INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
    tie INTEGER NOT NULL DEFAULT 0,
    blind INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    CHECK (chosen_id <> rejected_id)
);
CREATE INDEX preferences_chosen ON preferences(chosen_id);
CREATE INDEX preferences_rejected ON preferences(rejected_id);
CREATE TABLE acts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    message_id INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    done_ms INTEGER NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX acts_message ON acts(message_id)
"""
