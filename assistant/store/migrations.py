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


@migrations()
def exchanges_and_search(db: Database) -> None:
    """One narrow row for each reply, to be sorted and filtered without touching its text, and an index of words.

    Both are derived: triggers keep them equal to what they are made of, whoever writes, and `derived.rebuild` makes
    them again. A reply that still grows is in neither, as it is written twice a second.
    """
    for statement in _EXCHANGES.split("\n\n"):
        db.conn.execute(statement)


_EXCHANGES = """
CREATE TABLE exchanges (
    message_id INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,
    conversation_id INTEGER NOT NULL,
    prompt_id INTEGER,
    created_ms INTEGER NOT NULL,
    model TEXT NOT NULL,
    adapter TEXT NOT NULL,
    template TEXT NOT NULL,
    rating INTEGER NOT NULL,
    decision TEXT NOT NULL,
    tags TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    surprise REAL NOT NULL,
    characters INTEGER NOT NULL,
    judged INTEGER NOT NULL,
    hidden INTEGER NOT NULL
)

CREATE VIEW told_exchanges AS
SELECT m.id AS message_id, m.conversation_id, m.parent_id AS prompt_id, m.created_ms,
    coalesce(r.model, '') AS model, coalesce(r.adapter_hash, '') AS adapter, coalesce(t.name, '') AS template,
    coalesce(j.rating, 0) AS rating, coalesce(j.decision, 'undecided') AS decision,
    coalesce((SELECT group_concat(tag, ', ') FROM (SELECT tag FROM tags WHERE message_id = m.id ORDER BY tag)), '')
        AS tags,
    coalesce(r.completion_tokens, 0) AS tokens, coalesce(surprise(r.logprobs), -1.0) AS surprise,
    length(m.content) AS characters,
    coalesce(j.rating, 0) <> 0 OR coalesce(j.decision, 'undecided') <> 'undecided' OR m.corrects_id IS NOT NULL
        OR EXISTS (SELECT 1 FROM messages x WHERE x.corrects_id = m.id) AS judged,
    c.deleted_ms IS NOT NULL AS hidden
FROM messages m JOIN conversations c ON c.id = m.conversation_id LEFT JOIN replies r ON r.message_id = m.id
    LEFT JOIN templates t ON t.hash = r.template_hash LEFT JOIN judgements j ON j.message_id = m.id
WHERE m.role = 'assistant' AND m.state <> 'growing'

CREATE VIRTUAL TABLE messages_words USING fts5(
    text, content='', columnsize=0, tokenize="unicode61 remove_diacritics 2"
)

INSERT INTO exchanges SELECT * FROM told_exchanges

INSERT INTO messages_words (rowid, text) SELECT id, words(content) FROM messages WHERE state <> 'growing'

CREATE INDEX exchanges_answers ON exchanges(prompt_id)

CREATE INDEX exchanges_of_conversation ON exchanges(conversation_id)

CREATE INDEX exchanges_created_ms ON exchanges(hidden, created_ms, message_id)

CREATE INDEX exchanges_conversation_id ON exchanges(hidden, conversation_id, message_id)

CREATE INDEX exchanges_model ON exchanges(hidden, model, message_id)

CREATE INDEX exchanges_adapter ON exchanges(hidden, adapter, message_id)

CREATE INDEX exchanges_template ON exchanges(hidden, template, message_id)

CREATE INDEX exchanges_rating ON exchanges(hidden, rating, message_id)

CREATE INDEX exchanges_decision ON exchanges(hidden, decision, message_id)

CREATE INDEX exchanges_tags ON exchanges(hidden, tags, message_id)

CREATE INDEX exchanges_tokens ON exchanges(hidden, tokens, message_id)

CREATE INDEX exchanges_surprise ON exchanges(hidden, surprise, message_id)

CREATE INDEX exchanges_characters ON exchanges(hidden, characters, message_id)

CREATE INDEX exchanges_unjudged ON exchanges(hidden, judged, surprise, message_id)

CREATE TRIGGER messages_added AFTER INSERT ON messages WHEN NEW.state <> 'growing' BEGIN
    INSERT INTO messages_words (rowid, text) VALUES (NEW.id, words(NEW.content));
    INSERT INTO exchanges SELECT * FROM told_exchanges WHERE message_id = NEW.id;
END

CREATE TRIGGER messages_ended AFTER UPDATE OF state ON messages
WHEN OLD.state = 'growing' AND NEW.state <> 'growing' BEGIN
    INSERT INTO messages_words (rowid, text) VALUES (NEW.id, words(NEW.content));
    INSERT INTO exchanges SELECT * FROM told_exchanges WHERE message_id = NEW.id;
END

CREATE TRIGGER messages_resumed AFTER UPDATE OF state ON messages
WHEN OLD.state <> 'growing' AND NEW.state = 'growing' BEGIN
    INSERT INTO messages_words (messages_words, rowid, text) VALUES ('delete', OLD.id, words(OLD.content));
    DELETE FROM exchanges WHERE message_id = OLD.id;
END

CREATE TRIGGER messages_rewritten AFTER UPDATE OF content ON messages
WHEN OLD.state <> 'growing' AND NEW.state <> 'growing' AND OLD.content IS NOT NEW.content BEGIN
    INSERT INTO messages_words (messages_words, rowid, text) VALUES ('delete', OLD.id, words(OLD.content));
    INSERT INTO messages_words (rowid, text) VALUES (NEW.id, words(NEW.content));
    UPDATE exchanges SET characters = (SELECT characters FROM told_exchanges WHERE message_id = NEW.id)
    WHERE message_id = NEW.id;
END

CREATE TRIGGER messages_moved AFTER UPDATE OF parent_id ON messages BEGIN
    UPDATE exchanges SET prompt_id = NEW.parent_id WHERE message_id = NEW.id;
END

CREATE TRIGGER messages_gone AFTER DELETE ON messages WHEN OLD.state <> 'growing' BEGIN
    INSERT INTO messages_words (messages_words, rowid, text) VALUES ('delete', OLD.id, words(OLD.content));
END

CREATE TRIGGER corrections_added AFTER INSERT ON messages WHEN NEW.corrects_id IS NOT NULL BEGIN
    UPDATE exchanges SET judged = 1 WHERE message_id = NEW.corrects_id;
END

CREATE TRIGGER corrections_changed AFTER UPDATE OF corrects_id ON messages BEGIN
    UPDATE exchanges SET judged =
        coalesce((SELECT judged FROM told_exchanges t WHERE t.message_id = exchanges.message_id), judged)
    WHERE message_id IN (NEW.id, OLD.corrects_id, NEW.corrects_id);
END

CREATE TRIGGER corrections_gone AFTER DELETE ON messages WHEN OLD.corrects_id IS NOT NULL BEGIN
    UPDATE exchanges SET judged =
        coalesce((SELECT judged FROM told_exchanges t WHERE t.message_id = exchanges.message_id), judged)
    WHERE message_id = OLD.corrects_id;
END

CREATE TRIGGER replies_added AFTER INSERT ON replies BEGIN
    UPDATE exchanges SET (model, adapter, template, tokens, surprise) =
        (SELECT model, adapter, template, tokens, surprise FROM told_exchanges WHERE message_id = NEW.message_id)
    WHERE message_id = NEW.message_id;
END

CREATE TRIGGER replies_changed
AFTER UPDATE OF model, adapter_hash, template_hash, completion_tokens, logprobs ON replies BEGIN
    UPDATE exchanges SET (model, adapter, template, tokens, surprise) =
        (SELECT model, adapter, template, tokens, surprise FROM told_exchanges WHERE message_id = NEW.message_id)
    WHERE message_id = NEW.message_id;
END

CREATE TRIGGER judgements_added AFTER INSERT ON judgements BEGIN
    UPDATE exchanges SET (rating, decision, judged) =
        (SELECT rating, decision, judged FROM told_exchanges WHERE message_id = NEW.message_id)
    WHERE message_id = NEW.message_id;
END

CREATE TRIGGER judgements_changed AFTER UPDATE OF rating, decision ON judgements BEGIN
    UPDATE exchanges SET (rating, decision, judged) =
        (SELECT rating, decision, judged FROM told_exchanges WHERE message_id = NEW.message_id)
    WHERE message_id = NEW.message_id;
END

CREATE TRIGGER tags_added AFTER INSERT ON tags BEGIN
    UPDATE exchanges SET tags = (SELECT tags FROM told_exchanges WHERE message_id = NEW.message_id)
    WHERE message_id = NEW.message_id;
END

CREATE TRIGGER tags_gone AFTER DELETE ON tags BEGIN
    UPDATE exchanges SET tags = coalesce((SELECT tags FROM told_exchanges WHERE message_id = OLD.message_id), '')
    WHERE message_id = OLD.message_id;
END

CREATE TRIGGER conversations_hidden AFTER UPDATE OF deleted_ms ON conversations
WHEN (OLD.deleted_ms IS NULL) <> (NEW.deleted_ms IS NULL) BEGIN
    UPDATE exchanges SET hidden = NEW.deleted_ms IS NOT NULL WHERE conversation_id = NEW.id;
END
"""


@migrations()
def places_of_votes(db: Database) -> None:
    """Which of the two stood first when they were voted on: whoever prefers the first, whatever it says, shows."""
    db.conn.execute("ALTER TABLE preferences ADD COLUMN chosen_first INTEGER CHECK (chosen_first IN (0, 1))")


@migrations()
def template_tests(db: Database) -> None:
    """How good a template was on a labelled set, item by item, so that two tests can be compared in pairs."""
    for statement in _TEMPLATE_TESTS.split(";\n"):
        db.conn.execute(statement)


_TEMPLATE_TESTS = """
CREATE TABLE template_tests (
    id INTEGER PRIMARY KEY,
    done_ms INTEGER NOT NULL,
    template TEXT NOT NULL,
    template_hash TEXT NOT NULL,
    model TEXT NOT NULL,
    adapter TEXT NOT NULL,
    settings TEXT NOT NULL,
    data TEXT NOT NULL,
    data_hash TEXT NOT NULL,
    main TEXT NOT NULL,
    item_values TEXT NOT NULL,
    report TEXT NOT NULL
);
CREATE INDEX template_tests_data ON template_tests(template, data_hash)
"""


@migrations()
def redaction_and_replay(db: Database) -> None:
    """What a reply can be made again with and read by token; which placeholder stands for which personal value.

    A value is kept as a keyed fingerprint alone: what was taken out of the log must not stand in this table.
    """
    for statement in _REDACTION.split(";\n"):
        db.conn.execute(statement)


_REDACTION = """
ALTER TABLE replies ADD COLUMN inputs TEXT NOT NULL DEFAULT '{}';
ALTER TABLE replies ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE replies ADD COLUMN continued_at INTEGER;
ALTER TABLE replies ADD COLUMN token_lengths BLOB NOT NULL DEFAULT x'';
ALTER TABLE messages ADD COLUMN redacted INTEGER NOT NULL DEFAULT 0;
CREATE TABLE placeholders (
    kind TEXT NOT NULL,
    number INTEGER NOT NULL,
    fingerprint TEXT UNIQUE,
    PRIMARY KEY (kind, number)
);
CREATE TABLE not_personal (
    fingerprint TEXT PRIMARY KEY
)
"""


@migrations()
def meaning_and_doubles(db: Database) -> None:
    """What the vectors of meaning, which lie in a file of their own, must follow; and which replies are doubles.

    Nothing is noted until there are vectors.
    """
    for statement in _MEANING.split("\n\n"):
        db.conn.execute(statement)


_MEANING = """
CREATE TABLE meaning_stale (id INTEGER PRIMARY KEY AUTOINCREMENT, message_id INTEGER NOT NULL)

CREATE TRIGGER meaning_ended AFTER UPDATE OF state ON messages
WHEN OLD.state = 'growing' AND NEW.state <> 'growing' AND EXISTS (SELECT 1 FROM state WHERE key = 'meaning') BEGIN
    INSERT INTO meaning_stale (message_id) VALUES (NEW.id);
END

CREATE TRIGGER meaning_rewritten AFTER UPDATE OF content ON messages
WHEN OLD.state <> 'growing' AND NEW.state <> 'growing' AND OLD.content IS NOT NEW.content
AND EXISTS (SELECT 1 FROM state WHERE key = 'meaning') BEGIN
    INSERT INTO meaning_stale (message_id) VALUES (NEW.id);
END

CREATE TRIGGER meaning_gone AFTER DELETE ON messages WHEN EXISTS (SELECT 1 FROM state WHERE key = 'meaning') BEGIN
    INSERT INTO meaning_stale (message_id) VALUES (OLD.id);
END

CREATE TABLE doubles (
    message_id INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,
    group_id INTEGER NOT NULL,
    exact INTEGER NOT NULL
)

CREATE INDEX doubles_group ON doubles(group_id)
"""


@migrations()
def provenance_told_once(db: Database) -> None:
    """What a reply was made with is the same for thousands of them: kept once, it was a fifth of the file.

    `replies` stays as a view that is read and written like the table it was.
    """
    for statement in _PROVENANCES.split("\n\n"):
        db.conn.execute(statement)


_MADE_WITH = "model, model_hash, adapter_hash, template_hash, sampling, inputs, version, device"
_WENT = (
    "prompt_tokens, cached_tokens, completion_tokens, dropped_messages, context_tokens, load_s, first_token_s, "
    "total_s, finish_reason, token_ids, logprobs, token_lengths"
)
_NOTHING = {"inputs": "'{}'", "finish_reason": "''", "token_ids": "x''", "logprobs": "x''", "token_lengths": "x''"}
_EMPTY = "''"
_NEW_MADE = {name: f"coalesce(NEW.{name}, {_NOTHING.get(name, _EMPTY)})" for name in _MADE_WITH.split(", ")}
_SAME = " AND ".join(f"{name} = {new}" for name, new in _NEW_MADE.items())
_NEW_WENT = ", ".join(f"coalesce(NEW.{name}, {_NOTHING.get(name, '0')})" for name in _WENT.split(", "))
_REMEMBER = f"""INSERT INTO provenances ({_MADE_WITH})
    SELECT {", ".join(_NEW_MADE.values())}
    WHERE NOT EXISTS (SELECT 1 FROM provenances WHERE {_SAME});"""
_PROVENANCE_ID = f"(SELECT id FROM provenances WHERE {_SAME})"
_TOLD_OUTCOME = """UPDATE exchanges SET (model, adapter, template, tokens, surprise) =
        (SELECT model, adapter, template, tokens, surprise FROM told_exchanges WHERE message_id = NEW.message_id)
    WHERE message_id = NEW.message_id;"""

_PROVENANCES = f"""
DROP VIEW told_exchanges

CREATE TABLE provenances (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    model_hash TEXT NOT NULL,
    adapter_hash TEXT NOT NULL,
    template_hash TEXT NOT NULL REFERENCES templates(hash),
    sampling TEXT NOT NULL,
    inputs TEXT NOT NULL,
    version TEXT NOT NULL,
    device TEXT NOT NULL
)

CREATE UNIQUE INDEX provenances_told
ON provenances(template_hash, sampling, inputs, model, model_hash, adapter_hash, version, device)

INSERT INTO provenances ({_MADE_WITH}) SELECT DISTINCT {_MADE_WITH} FROM replies

CREATE TABLE outcomes (
    message_id INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,
    provenance_id INTEGER NOT NULL REFERENCES provenances(id),
    seed INTEGER,
    continued_at INTEGER,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    dropped_messages INTEGER NOT NULL,
    context_tokens INTEGER NOT NULL,
    load_s REAL NOT NULL,
    first_token_s REAL NOT NULL,
    total_s REAL NOT NULL,
    finish_reason TEXT NOT NULL,
    token_ids BLOB NOT NULL,
    logprobs BLOB NOT NULL,
    token_lengths BLOB NOT NULL
)

INSERT INTO outcomes
SELECT r.message_id, p.id, r.seed, r.continued_at, {", ".join(f"r.{name}" for name in _WENT.split(", "))}
FROM replies r CROSS JOIN provenances p ON {" AND ".join(f"p.{name} = r.{name}" for name in _MADE_WITH.split(", "))}

DROP TABLE replies

CREATE INDEX outcomes_provenance ON outcomes(provenance_id)

CREATE VIEW replies AS
SELECT o.message_id, p.model, p.adapter_hash, p.template_hash, p.sampling, p.inputs, o.seed, p.model_hash,
    o.prompt_tokens, o.cached_tokens, o.completion_tokens, o.dropped_messages, o.context_tokens, o.load_s,
    o.first_token_s, o.total_s, o.finish_reason, p.device, p.version, o.continued_at, o.token_ids, o.logprobs,
    o.token_lengths
FROM outcomes o JOIN provenances p ON p.id = o.provenance_id

CREATE TRIGGER replies_insert INSTEAD OF INSERT ON replies BEGIN
    {_REMEMBER}
    INSERT INTO outcomes (message_id, provenance_id, seed, continued_at, {_WENT})
    VALUES (NEW.message_id, {_PROVENANCE_ID}, NEW.seed, NEW.continued_at, {_NEW_WENT});
END

CREATE TRIGGER replies_update INSTEAD OF UPDATE ON replies BEGIN
    {_REMEMBER}
    UPDATE outcomes SET (provenance_id, seed, continued_at, {_WENT}) =
        ({_PROVENANCE_ID}, NEW.seed, NEW.continued_at, {_NEW_WENT})
    WHERE message_id = OLD.message_id;
END

CREATE TRIGGER replies_delete INSTEAD OF DELETE ON replies BEGIN
    DELETE FROM outcomes WHERE message_id = OLD.message_id;
END

CREATE VIEW told_exchanges AS
SELECT m.id AS message_id, m.conversation_id, m.parent_id AS prompt_id, m.created_ms,
    coalesce(p.model, '') AS model, coalesce(p.adapter_hash, '') AS adapter, coalesce(t.name, '') AS template,
    coalesce(j.rating, 0) AS rating, coalesce(j.decision, 'undecided') AS decision,
    coalesce((SELECT group_concat(tag, ', ') FROM (SELECT tag FROM tags WHERE message_id = m.id ORDER BY tag)), '')
        AS tags,
    coalesce(o.completion_tokens, 0) AS tokens, coalesce(surprise(o.logprobs), -1.0) AS surprise,
    length(m.content) AS characters,
    coalesce(j.rating, 0) <> 0 OR coalesce(j.decision, 'undecided') <> 'undecided' OR m.corrects_id IS NOT NULL
        OR EXISTS (SELECT 1 FROM messages x WHERE x.corrects_id = m.id) AS judged,
    c.deleted_ms IS NOT NULL AS hidden
FROM messages m JOIN conversations c ON c.id = m.conversation_id LEFT JOIN outcomes o ON o.message_id = m.id
    LEFT JOIN provenances p ON p.id = o.provenance_id LEFT JOIN templates t ON t.hash = p.template_hash
    LEFT JOIN judgements j ON j.message_id = m.id
WHERE m.role = 'assistant' AND m.state <> 'growing'

CREATE TRIGGER outcomes_added AFTER INSERT ON outcomes BEGIN
    {_TOLD_OUTCOME}
END

CREATE TRIGGER outcomes_changed AFTER UPDATE OF provenance_id, completion_tokens, logprobs ON outcomes BEGIN
    {_TOLD_OUTCOME}
END
"""


@migrations()
def imports_under_way(db: Database) -> None:
    """An import lets others write between its parts; what of it came in is named here until all has."""
    db.conn.execute(
        "CREATE TABLE importing (id INTEGER PRIMARY KEY, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL, "
        "first_message_id INTEGER NOT NULL, last_message_id INTEGER NOT NULL)"
    )
    # A conversation that has grown elsewhere since it was imported is found by the name it has there.
    db.conn.execute("CREATE INDEX conversations_source ON conversations(source_id, source) WHERE source_id <> ''")


@migrations()
def training(db: Database) -> None:
    """What was learned from the log: frozen datasets, runs with their course, what proved them, what was swapped in."""
    for statement in _TRAINING.split(";\n"):
        db.conn.execute(statement)


_TRAINING = """
CREATE TABLE datasets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('supervised', 'preference', 'kto', 'label')),
    hash TEXT NOT NULL,
    source TEXT NOT NULL,
    statistics TEXT NOT NULL DEFAULT '{}',
    created_ms INTEGER NOT NULL
);
CREATE TABLE examples (
    id INTEGER PRIMARY KEY,
    dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
    split TEXT NOT NULL CHECK (split IN ('train', 'validation', 'test')),
    group_id INTEGER NOT NULL,
    message_id INTEGER REFERENCES messages(id) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX examples_of_dataset ON examples(dataset_id, split, id);
CREATE INDEX examples_of_message ON examples(message_id) WHERE message_id IS NOT NULL;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    dataset_id INTEGER REFERENCES datasets(id) ON DELETE SET NULL,
    dataset_hash TEXT NOT NULL,
    model TEXT NOT NULL,
    base_hash TEXT NOT NULL,
    config TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'stopped', 'finished', 'failed')),
    error TEXT NOT NULL DEFAULT '',
    result TEXT NOT NULL DEFAULT '{}',
    adapter_hash TEXT NOT NULL DEFAULT '',
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER
);
CREATE TABLE run_points (
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    figures TEXT NOT NULL,
    PRIMARY KEY (run_id, step)
) WITHOUT ROWID;
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    adapter_hash TEXT NOT NULL,
    report TEXT NOT NULL,
    done_ms INTEGER NOT NULL
);
CREATE TABLE adapters (
    hash TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    run_id INTEGER REFERENCES runs(id) ON DELETE SET NULL,
    model TEXT NOT NULL,
    base_hash TEXT NOT NULL,
    lineage TEXT NOT NULL,
    created_ms INTEGER NOT NULL
);
CREATE TABLE promotions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    adapter_hash TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('promote', 'rollback')),
    anyway INTEGER NOT NULL DEFAULT 0,
    reasons TEXT NOT NULL DEFAULT '',
    done_ms INTEGER NOT NULL
);
CREATE INDEX promotions_of_model ON promotions(model, id);
ALTER TABLE conversations ADD COLUMN adapter TEXT
"""


@migrations()
def sources_of_examples(db: Database) -> None:
    """What else an example came from, so that it goes with that too, and what later datasets know it again by."""
    for statement in _SOURCES.split(";\n"):
        db.conn.execute(statement)


_SOURCES = """
ALTER TABLE examples ADD COLUMN rejected_id INTEGER REFERENCES messages(id) ON DELETE CASCADE;
ALTER TABLE examples ADD COLUMN conversation TEXT NOT NULL DEFAULT '';
ALTER TABLE examples ADD COLUMN said TEXT NOT NULL DEFAULT '';
CREATE INDEX examples_of_rejected ON examples(rejected_id) WHERE rejected_id IS NOT NULL
"""


@migrations()
def vocabularies(db: Database) -> None:
    """Which id a piece of a reply has follows from the model's vocabulary: told for each, it was a tenth of the file.

    A piece is a hash of the model and the text: `token_packing` tells how.
    """
    db.conn.execute("CREATE TABLE token_ids (piece INTEGER PRIMARY KEY, id INTEGER NOT NULL)")


@migrations()
def saved_templates(db: Database) -> None:
    """Texts of templates that a person saved, so that they can be had back though no reply was made with them."""
    db.conn.execute(
        "CREATE TABLE template_saves (name TEXT NOT NULL, template_hash TEXT NOT NULL REFERENCES templates(hash), "
        "saved_ms INTEGER NOT NULL, PRIMARY KEY (name, template_hash)) WITHOUT ROWID"
    )
    db.conn.execute("CREATE INDEX template_saves_hash ON template_saves(template_hash)")


@migrations()
def one_index_of_conversations(db: Database) -> None:
    """Two indexes found a conversation's replies: the one without `hidden` goes, a hundredth of the text in size."""
    for statement in _ONE_INDEX.split("\n\n"):
        db.conn.execute(statement)


_ONE_INDEX = """
DROP TRIGGER conversations_hidden

DROP INDEX exchanges_of_conversation

CREATE TRIGGER conversations_hidden AFTER UPDATE OF deleted_ms ON conversations
WHEN (OLD.deleted_ms IS NULL) <> (NEW.deleted_ms IS NULL) BEGIN
    UPDATE exchanges SET hidden = NEW.deleted_ms IS NOT NULL
    WHERE hidden = (OLD.deleted_ms IS NOT NULL) AND conversation_id = NEW.id;
END
"""


@migrations()
def ids_once(db: Database) -> None:
    """Every index ends in the row's id anyway; named among its columns it was stored twice, a twentieth of the text."""
    for column in _SORTED_BY:
        db.conn.execute(f"DROP INDEX exchanges_{column}")
        db.conn.execute(f"CREATE INDEX exchanges_{column} ON exchanges(hidden, {column})")
    db.conn.execute("DROP INDEX exchanges_unjudged")
    db.conn.execute("CREATE INDEX exchanges_unjudged ON exchanges(hidden, judged, surprise)")
    db.conn.execute("DROP INDEX messages_children")
    db.conn.execute("CREATE INDEX messages_children ON messages(conversation_id, parent_id)")


_SORTED_BY = (
    *("created_ms", "conversation_id", "model", "adapter", "template", "rating", "decision", "tags"),
    *("tokens", "surprise", "characters"),
)


@migrations()
def datasets_of_entities(db: Database) -> None:
    """Datasets have another kind. A check that allows more needs no new table: https://sqlite.org/lang_altertable.html"""
    ((version,),) = db.conn.execute("PRAGMA schema_version")
    db.conn.execute("PRAGMA writable_schema = ON")
    db.conn.execute(
        "UPDATE sqlite_master SET sql = replace(sql, '''label'')', '''label'', ''entities'')') WHERE name = 'datasets'"
    )
    db.conn.execute(f"PRAGMA schema_version = {version + 1}")
    db.conn.execute("PRAGMA writable_schema = RESET")


@migrations()
def acts_of_many(db: Database) -> None:
    """An act may be of many replies: it then names none itself, and is undone as one."""
    for statement in _ACTS_OF_MANY.split("\n\n"):
        db.conn.execute(statement)


_ACTS_OF_MANY = """
CREATE TABLE acts_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    message_id INTEGER REFERENCES messages(id) ON DELETE CASCADE,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    done_ms INTEGER NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
)

INSERT INTO acts_new SELECT id, kind, message_id, before, after, done_ms, undone FROM acts

DROP TABLE acts

ALTER TABLE acts_new RENAME TO acts

CREATE INDEX acts_message ON acts(message_id)

CREATE TABLE acts_of_many (
    act_id INTEGER NOT NULL REFERENCES acts(id) ON DELETE CASCADE,
    message_id INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
    before TEXT,
    UNIQUE (act_id, message_id)
)

CREATE INDEX acts_of_many_message ON acts_of_many(message_id)
"""
