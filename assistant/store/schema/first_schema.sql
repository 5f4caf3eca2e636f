-- The schema of the first release, one statement a table; `migrations.py` runs it.
--
-- Times are integer milliseconds UTC. Messages form a tree by `parent_id`; a conversation remembers the leaf that is
-- open. Texts marked JSON hold an object, unless said otherwise.
--
-- A kind of something (a role, a state, a rating) is a row of a table that is referenced: another kind is one INSERT,
-- and no table has to be built again. Only these tables have no row ids: recovery reads all others by their row ids.
--
-- An index ends in the row's id, whether or not it names it: none does, as the id would be stored twice.


-- Kinds --------------------------------------------------------------------------------------------------------------

CREATE TABLE roles (name TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO roles VALUES ('user'), ('assistant');

CREATE TABLE message_states (name TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO message_states VALUES ('complete'), ('growing'), ('cut'), ('stopped'), ('interrupted'), ('failed');

CREATE TABLE decisions (name TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO decisions VALUES ('undecided'), ('keep'), ('skip');

-- Filled from `assistant/ratings.py`.
CREATE TABLE ratings (number INTEGER PRIMARY KEY, word TEXT NOT NULL);

CREATE TABLE dataset_kinds (name TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO dataset_kinds VALUES ('supervised'), ('preference'), ('kto'), ('label'), ('entities');

CREATE TABLE splits (name TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO splits VALUES ('train'), ('validation'), ('test');

CREATE TABLE run_states (name TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO run_states VALUES ('running'), ('stopped'), ('finished'), ('failed');

CREATE TABLE promotion_actions (name TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO promotion_actions VALUES ('promote'), ('rollback');


-- Conversations and messages -----------------------------------------------------------------------------------------

CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL DEFAULT '',
    title_is_automatic INTEGER NOT NULL DEFAULT 1,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    pinned INTEGER NOT NULL DEFAULT 0,
    deleted_ms INTEGER,                      -- hidden since then; purged later
    model TEXT NOT NULL DEFAULT '',
    template TEXT NOT NULL DEFAULT '',
    inputs TEXT NOT NULL DEFAULT '{}',       -- JSON: what the template is filled with
    sampling TEXT NOT NULL DEFAULT '{}',     -- JSON
    system TEXT NOT NULL DEFAULT '',
    adapter TEXT,                            -- NULL: whichever is promoted
    draft TEXT NOT NULL DEFAULT '',
    leaf_id INTEGER REFERENCES messages(id) ON DELETE SET NULL,
    source TEXT NOT NULL DEFAULT '',         -- the program it was imported from
    source_id TEXT NOT NULL DEFAULT '',      -- its name there, by which a longer version of it is recognised
    content_hash TEXT                        -- of what was imported, so that it is imported once
);
CREATE INDEX conversations_listed ON conversations(pinned DESC, updated_ms DESC, id DESC) WHERE deleted_ms IS NULL;
CREATE INDEX conversations_deleted ON conversations(deleted_ms) WHERE deleted_ms IS NOT NULL;
CREATE INDEX conversations_leaf ON conversations(leaf_id);
CREATE INDEX conversations_source ON conversations(source_id, source) WHERE source_id <> '';
CREATE UNIQUE INDEX conversations_imported ON conversations(content_hash) WHERE content_hash IS NOT NULL;

CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id INTEGER NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
    parent_id INTEGER REFERENCES messages(id) ON DELETE CASCADE,
    role TEXT NOT NULL REFERENCES roles(name),
    content TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    state TEXT NOT NULL REFERENCES message_states(name),
    error TEXT NOT NULL DEFAULT '',
    corrects_id INTEGER REFERENCES messages(id) ON DELETE SET NULL,
    source_id TEXT,                          -- its name in the file that it was imported from
    redacted INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX messages_children ON messages(conversation_id, parent_id);
CREATE INDEX messages_parent ON messages(parent_id);
CREATE INDEX messages_growing ON messages(updated_ms) WHERE state = 'growing';
CREATE INDEX messages_corrections ON messages(corrects_id) WHERE corrects_id IS NOT NULL;

-- An import lets others write between its parts; the part that is stored is named here until all of it is.
CREATE TABLE importing (
    id INTEGER PRIMARY KEY,
    first_id INTEGER NOT NULL,
    last_id INTEGER NOT NULL,
    first_message_id INTEGER NOT NULL,
    last_message_id INTEGER NOT NULL
);

-- What the program remembers from one start to the next.
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL);

-- Which placeholder stands for which personal value. A value is kept as a keyed fingerprint alone: what was taken out
-- of the log must not stand in this table.
CREATE TABLE placeholders (
    kind TEXT NOT NULL,
    number INTEGER NOT NULL,
    fingerprint TEXT UNIQUE,
    PRIMARY KEY (kind, number)
);

CREATE TABLE not_personal (fingerprint TEXT PRIMARY KEY);


-- How each reply was made --------------------------------------------------------------------------------------------

CREATE TABLE templates (
    hash TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    first_used_ms INTEGER NOT NULL
);

-- Texts that a person saved are kept, though no reply was made with them.
CREATE TABLE template_saves (
    name TEXT NOT NULL,
    template_hash TEXT NOT NULL REFERENCES templates(hash),
    saved_ms INTEGER NOT NULL,
    PRIMARY KEY (name, template_hash)
);
CREATE INDEX template_saves_hash ON template_saves(template_hash);

-- Item by item, so that two tests on the same data can be compared in pairs.
CREATE TABLE template_tests (
    id INTEGER PRIMARY KEY,
    done_ms INTEGER NOT NULL,
    template TEXT NOT NULL,
    template_hash TEXT NOT NULL,
    model TEXT NOT NULL,
    adapter TEXT NOT NULL,
    settings TEXT NOT NULL,                  -- JSON
    data TEXT NOT NULL,
    data_hash TEXT NOT NULL,
    main TEXT NOT NULL,
    item_values TEXT NOT NULL,               -- JSON: a list of numbers
    report TEXT NOT NULL                     -- JSON
);
CREATE INDEX template_tests_data ON template_tests(template, data_hash);

-- Thousands of replies share what they were made with. Kept with each of them it was a fifth of the file.
CREATE TABLE provenances (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    model_hash TEXT NOT NULL,
    adapter_hash TEXT NOT NULL,
    template_hash TEXT NOT NULL REFERENCES templates(hash),
    sampling TEXT NOT NULL,                  -- JSON
    inputs TEXT NOT NULL,                    -- JSON
    version TEXT NOT NULL,
    device TEXT NOT NULL
);
CREATE UNIQUE INDEX provenances_content
ON provenances(template_hash, sampling, inputs, model, model_hash, adapter_hash, version, device);

-- Apart from the message, so that the rows of a conversation stay small.
CREATE TABLE outcomes (
    message_id INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,
    provenance_id INTEGER NOT NULL REFERENCES provenances(id),
    seed INTEGER,
    continued_at INTEGER,                    -- characters of a reply when it was first continued
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    dropped_messages INTEGER NOT NULL,
    context_tokens INTEGER NOT NULL,
    load_s REAL NOT NULL,
    first_token_s REAL NOT NULL,
    total_s REAL NOT NULL,
    finish_reason TEXT NOT NULL,
    token_data BLOB NOT NULL DEFAULT x''     -- ids, log-probabilities, lengths: `token_data.py`
);
CREATE INDEX outcomes_provenance ON outcomes(provenance_id);

-- Both tables as one, which is read and written like a table.
CREATE VIEW replies AS
SELECT message_id, model, model_hash, adapter_hash, template_hash, sampling, inputs, version, device, seed,
    continued_at, prompt_tokens, cached_tokens, completion_tokens, dropped_messages, context_tokens, load_s,
    first_token_s, total_s, finish_reason, token_data
FROM outcomes JOIN provenances ON provenances.id = provenance_id;

CREATE TRIGGER replies_insert INSTEAD OF INSERT ON replies BEGIN
    INSERT INTO provenances (model, model_hash, adapter_hash, template_hash, sampling, inputs, version, device)
    VALUES (NEW.model, NEW.model_hash, NEW.adapter_hash, NEW.template_hash, NEW.sampling, NEW.inputs, NEW.version,
        NEW.device)
    ON CONFLICT DO NOTHING;
    INSERT INTO outcomes
    SELECT NEW.message_id, id, NEW.seed, NEW.continued_at, coalesce(NEW.prompt_tokens, 0),
        coalesce(NEW.cached_tokens, 0), coalesce(NEW.completion_tokens, 0), coalesce(NEW.dropped_messages, 0),
        coalesce(NEW.context_tokens, 0), coalesce(NEW.load_s, 0), coalesce(NEW.first_token_s, 0),
        coalesce(NEW.total_s, 0), coalesce(NEW.finish_reason, ''), coalesce(NEW.token_data, x'')
    FROM provenances
    WHERE template_hash = NEW.template_hash AND sampling = NEW.sampling AND inputs = NEW.inputs AND model = NEW.model
        AND model_hash = NEW.model_hash AND adapter_hash = NEW.adapter_hash AND version = NEW.version
        AND device = NEW.device;
END;

CREATE TRIGGER replies_update INSTEAD OF UPDATE ON replies BEGIN
    INSERT INTO provenances (model, model_hash, adapter_hash, template_hash, sampling, inputs, version, device)
    VALUES (NEW.model, NEW.model_hash, NEW.adapter_hash, NEW.template_hash, NEW.sampling, NEW.inputs, NEW.version,
        NEW.device)
    ON CONFLICT DO NOTHING;
    UPDATE outcomes SET (provenance_id, seed, continued_at, prompt_tokens, cached_tokens, completion_tokens,
        dropped_messages, context_tokens, load_s, first_token_s, total_s, finish_reason, token_data) =
    (SELECT id, NEW.seed, NEW.continued_at, NEW.prompt_tokens, NEW.cached_tokens, NEW.completion_tokens,
        NEW.dropped_messages, NEW.context_tokens, NEW.load_s, NEW.first_token_s, NEW.total_s, NEW.finish_reason,
        NEW.token_data
    FROM provenances
    WHERE template_hash = NEW.template_hash AND sampling = NEW.sampling AND inputs = NEW.inputs AND model = NEW.model
        AND model_hash = NEW.model_hash AND adapter_hash = NEW.adapter_hash AND version = NEW.version
        AND device = NEW.device)
    WHERE message_id = OLD.message_id;
END;


-- What a person thinks of replies ------------------------------------------------------------------------------------

CREATE TABLE judgements (
    message_id INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,
    rating INTEGER NOT NULL DEFAULT 0 REFERENCES ratings(number),
    decision TEXT NOT NULL DEFAULT 'undecided' REFERENCES decisions(name),
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
    chosen_first INTEGER CHECK (chosen_first IN (0, 1)),  -- shows a person who always prefers the first
    CHECK (chosen_id <> rejected_id)
);
CREATE INDEX preferences_chosen ON preferences(chosen_id);
CREATE INDEX preferences_rejected ON preferences(rejected_id);

-- The journal that undoes each judgement. `before` and `after` are JSON values.
CREATE TABLE acts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    message_id INTEGER REFERENCES messages(id) ON DELETE CASCADE,  -- NULL: an act on many replies
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    done_ms INTEGER NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX acts_message ON acts(message_id);

CREATE TABLE acts_of_many (
    act_id INTEGER NOT NULL REFERENCES acts(id) ON DELETE CASCADE,
    message_id INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
    before TEXT,
    UNIQUE (act_id, message_id)
);
CREATE INDEX acts_of_many_message ON acts_of_many(message_id);


-- Exchanges and the index of words: derived from all above -----------------------------------------------------------

-- One narrow row for each reply, to be sorted and filtered without touching its text. Triggers keep the rows equal to
-- `derived_exchanges`, whoever writes, and `derived.rebuild` makes them again. A growing reply has none, as it is
-- written twice a second.
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
    surprise REAL NOT NULL,                  -- -1 where it isn't known
    characters INTEGER NOT NULL,
    judged INTEGER NOT NULL,
    hidden INTEGER NOT NULL
);
CREATE INDEX exchanges_created_ms ON exchanges(hidden, created_ms);
CREATE INDEX exchanges_conversation_id ON exchanges(hidden, conversation_id);
CREATE INDEX exchanges_model ON exchanges(hidden, model);
CREATE INDEX exchanges_adapter ON exchanges(hidden, adapter);
CREATE INDEX exchanges_template ON exchanges(hidden, template);
CREATE INDEX exchanges_rating ON exchanges(hidden, rating);
CREATE INDEX exchanges_decision ON exchanges(hidden, decision);
CREATE INDEX exchanges_tags ON exchanges(hidden, tags);
CREATE INDEX exchanges_tokens ON exchanges(hidden, tokens);
CREATE INDEX exchanges_surprise ON exchanges(hidden, surprise);
CREATE INDEX exchanges_characters ON exchanges(hidden, characters);
CREATE INDEX exchanges_unjudged ON exchanges(hidden, judged, surprise);

CREATE VIEW derived_exchanges AS
SELECT m.id AS message_id, m.conversation_id, m.parent_id AS prompt_id, m.created_ms,
    coalesce(p.model, '') AS model, coalesce(p.adapter_hash, '') AS adapter, coalesce(t.name, '') AS template,
    coalesce(j.rating, 0) AS rating, coalesce(j.decision, 'undecided') AS decision,
    coalesce((SELECT group_concat(tag, ', ') FROM (SELECT tag FROM tags WHERE message_id = m.id ORDER BY tag)), '')
        AS tags,
    coalesce(o.completion_tokens, 0) AS tokens, coalesce(surprise(o.token_data), -1.0) AS surprise,
    length(m.content) AS characters,
    coalesce(j.rating, 0) <> 0 OR coalesce(j.decision, 'undecided') <> 'undecided' OR m.corrects_id IS NOT NULL
        OR EXISTS (SELECT 1 FROM messages x WHERE x.corrects_id = m.id) AS judged,
    c.deleted_ms IS NOT NULL AS hidden
FROM messages m JOIN conversations c ON c.id = m.conversation_id LEFT JOIN outcomes o ON o.message_id = m.id
    LEFT JOIN provenances p ON p.id = o.provenance_id LEFT JOIN templates t ON t.hash = p.template_hash
    LEFT JOIN judgements j ON j.message_id = m.id
WHERE m.role = 'assistant' AND m.state <> 'growing';

-- Words of two Chinese characters are phrases of two: `words.py`. Contentless, as the texts lie in `messages`. Segments
-- are merged two at a time, which leaves fewer free pages in the file than SQLite's four: 0.09 bytes a byte of text.
CREATE VIRTUAL TABLE messages_words USING fts5(
    text, content='', columnsize=0, tokenize="unicode61 remove_diacritics 2"
);
INSERT INTO messages_words (messages_words, rank) VALUES ('automerge', 2);

CREATE TRIGGER messages_added AFTER INSERT ON messages WHEN NEW.state <> 'growing' BEGIN
    INSERT INTO messages_words (rowid, text) VALUES (NEW.id, words(NEW.content));
    INSERT INTO exchanges SELECT * FROM derived_exchanges WHERE message_id = NEW.id;
END;

CREATE TRIGGER messages_ended AFTER UPDATE OF state ON messages
WHEN OLD.state = 'growing' AND NEW.state <> 'growing' BEGIN
    INSERT INTO messages_words (rowid, text) VALUES (NEW.id, words(NEW.content));
    INSERT INTO exchanges SELECT * FROM derived_exchanges WHERE message_id = NEW.id;
END;

CREATE TRIGGER messages_resumed AFTER UPDATE OF state ON messages
WHEN OLD.state <> 'growing' AND NEW.state = 'growing' BEGIN
    INSERT INTO messages_words (messages_words, rowid, text) VALUES ('delete', OLD.id, words(OLD.content));
    DELETE FROM exchanges WHERE message_id = OLD.id;
END;

CREATE TRIGGER messages_rewritten AFTER UPDATE OF content ON messages
WHEN OLD.state <> 'growing' AND NEW.state <> 'growing' AND OLD.content IS NOT NEW.content BEGIN
    INSERT INTO messages_words (messages_words, rowid, text) VALUES ('delete', OLD.id, words(OLD.content));
    INSERT INTO messages_words (rowid, text) VALUES (NEW.id, words(NEW.content));
    UPDATE exchanges SET characters = (SELECT characters FROM derived_exchanges WHERE message_id = NEW.id)
    WHERE message_id = NEW.id;
END;

CREATE TRIGGER messages_moved AFTER UPDATE OF parent_id ON messages BEGIN
    UPDATE exchanges SET prompt_id = NEW.parent_id WHERE message_id = NEW.id;
END;

CREATE TRIGGER messages_gone AFTER DELETE ON messages WHEN OLD.state <> 'growing' BEGIN
    INSERT INTO messages_words (messages_words, rowid, text) VALUES ('delete', OLD.id, words(OLD.content));
END;

CREATE TRIGGER corrections_added AFTER INSERT ON messages WHEN NEW.corrects_id IS NOT NULL BEGIN
    UPDATE exchanges SET judged = 1 WHERE message_id = NEW.corrects_id;
END;

CREATE TRIGGER corrections_changed AFTER UPDATE OF corrects_id ON messages BEGIN
    UPDATE exchanges SET judged =
        coalesce((SELECT judged FROM derived_exchanges t WHERE t.message_id = exchanges.message_id), judged)
    WHERE message_id IN (NEW.id, OLD.corrects_id, NEW.corrects_id);
END;

CREATE TRIGGER corrections_gone AFTER DELETE ON messages WHEN OLD.corrects_id IS NOT NULL BEGIN
    UPDATE exchanges SET judged =
        coalesce((SELECT judged FROM derived_exchanges t WHERE t.message_id = exchanges.message_id), judged)
    WHERE message_id = OLD.corrects_id;
END;

CREATE TRIGGER outcomes_added AFTER INSERT ON outcomes BEGIN
    UPDATE exchanges SET (model, adapter, template, tokens, surprise) =
        (SELECT model, adapter, template, tokens, surprise FROM derived_exchanges WHERE message_id = NEW.message_id)
    WHERE message_id = NEW.message_id;
END;

CREATE TRIGGER outcomes_changed AFTER UPDATE OF provenance_id, completion_tokens, token_data ON outcomes BEGIN
    UPDATE exchanges SET (model, adapter, template, tokens, surprise) =
        (SELECT model, adapter, template, tokens, surprise FROM derived_exchanges WHERE message_id = NEW.message_id)
    WHERE message_id = NEW.message_id;
END;

CREATE TRIGGER judgements_added AFTER INSERT ON judgements BEGIN
    UPDATE exchanges SET (rating, decision, judged) =
        (SELECT rating, decision, judged FROM derived_exchanges WHERE message_id = NEW.message_id)
    WHERE message_id = NEW.message_id;
END;

CREATE TRIGGER judgements_changed AFTER UPDATE OF rating, decision ON judgements BEGIN
    UPDATE exchanges SET (rating, decision, judged) =
        (SELECT rating, decision, judged FROM derived_exchanges WHERE message_id = NEW.message_id)
    WHERE message_id = NEW.message_id;
END;

CREATE TRIGGER tags_added AFTER INSERT ON tags BEGIN
    UPDATE exchanges SET tags = (SELECT tags FROM derived_exchanges WHERE message_id = NEW.message_id)
    WHERE message_id = NEW.message_id;
END;

CREATE TRIGGER tags_gone AFTER DELETE ON tags BEGIN
    UPDATE exchanges SET tags = coalesce((SELECT tags FROM derived_exchanges WHERE message_id = OLD.message_id), '')
    WHERE message_id = OLD.message_id;
END;

CREATE TRIGGER conversations_hidden AFTER UPDATE OF deleted_ms ON conversations
WHEN (OLD.deleted_ms IS NULL) <> (NEW.deleted_ms IS NULL) BEGIN
    UPDATE exchanges SET hidden = NEW.deleted_ms IS NOT NULL
    WHERE hidden = (OLD.deleted_ms IS NOT NULL) AND conversation_id = NEW.id;
END;


-- Meaning ------------------------------------------------------------------------------------------------------------

-- Which messages the vectors, which lie in a file of their own, have to follow. Nothing is noted until there are any.
CREATE TABLE meaning_stale (id INTEGER PRIMARY KEY AUTOINCREMENT, message_id INTEGER NOT NULL);

CREATE TRIGGER meaning_ended AFTER UPDATE OF state ON messages
WHEN OLD.state = 'growing' AND NEW.state <> 'growing' AND EXISTS (SELECT 1 FROM state WHERE key = 'meaning') BEGIN
    INSERT INTO meaning_stale (message_id) VALUES (NEW.id);
END;

CREATE TRIGGER meaning_rewritten AFTER UPDATE OF content ON messages
WHEN OLD.state <> 'growing' AND NEW.state <> 'growing' AND OLD.content IS NOT NEW.content
AND EXISTS (SELECT 1 FROM state WHERE key = 'meaning') BEGIN
    INSERT INTO meaning_stale (message_id) VALUES (NEW.id);
END;

CREATE TRIGGER meaning_gone AFTER DELETE ON messages WHEN EXISTS (SELECT 1 FROM state WHERE key = 'meaning') BEGIN
    INSERT INTO meaning_stale (message_id) VALUES (OLD.id);
END;

-- Replies that say nearly the same.
CREATE TABLE doubles (
    message_id INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,
    group_id INTEGER NOT NULL,
    exact INTEGER NOT NULL
);
CREATE INDEX doubles_group ON doubles(group_id);


-- Training -----------------------------------------------------------------------------------------------------------

-- An example is text of its own, so that a dataset stays as it was while the log goes on.
CREATE TABLE datasets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL REFERENCES dataset_kinds(name),
    hash TEXT NOT NULL,
    source TEXT NOT NULL,                    -- JSON
    statistics TEXT NOT NULL DEFAULT '{}',   -- JSON
    created_ms INTEGER NOT NULL
);

CREATE TABLE examples (
    id INTEGER PRIMARY KEY,
    dataset_id INTEGER NOT NULL REFERENCES datasets(id) ON DELETE CASCADE,
    split TEXT NOT NULL REFERENCES splits(name),
    group_id INTEGER NOT NULL,
    message_id INTEGER REFERENCES messages(id) ON DELETE CASCADE,   -- deleted with the replies that it came from
    rejected_id INTEGER REFERENCES messages(id) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    body TEXT NOT NULL,                      -- JSON
    conversation TEXT NOT NULL DEFAULT '',   -- by what a later dataset recognises the conversation
    said TEXT NOT NULL DEFAULT ''            -- by what near-duplicates are recognised
);
CREATE INDEX examples_of_dataset ON examples(dataset_id, split, id);
CREATE INDEX examples_of_message ON examples(message_id) WHERE message_id IS NOT NULL;
CREATE INDEX examples_of_rejected ON examples(rejected_id) WHERE rejected_id IS NOT NULL;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    dataset_id INTEGER REFERENCES datasets(id) ON DELETE SET NULL,
    dataset_hash TEXT NOT NULL,
    model TEXT NOT NULL,
    base_hash TEXT NOT NULL,
    config TEXT NOT NULL,                    -- JSON
    state TEXT NOT NULL REFERENCES run_states(name),
    error TEXT NOT NULL DEFAULT '',
    result TEXT NOT NULL DEFAULT '{}',       -- JSON
    adapter_hash TEXT NOT NULL DEFAULT '',
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER
);

CREATE TABLE run_points (
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    figures TEXT NOT NULL,                   -- JSON
    PRIMARY KEY (run_id, step)
);

CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    adapter_hash TEXT NOT NULL,
    report TEXT NOT NULL,                    -- JSON
    done_ms INTEGER NOT NULL
);

CREATE TABLE adapters (
    hash TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    run_id INTEGER REFERENCES runs(id) ON DELETE SET NULL,
    model TEXT NOT NULL,
    base_hash TEXT NOT NULL,
    lineage TEXT NOT NULL,                   -- JSON
    created_ms INTEGER NOT NULL
);

CREATE TABLE promotions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    adapter_hash TEXT NOT NULL,
    action TEXT NOT NULL REFERENCES promotion_actions(name),
    anyway INTEGER NOT NULL DEFAULT 0,       -- against the advice in `reasons`
    reasons TEXT NOT NULL DEFAULT '',
    done_ms INTEGER NOT NULL
);
CREATE INDEX promotions_of_model ON promotions(model, id);
