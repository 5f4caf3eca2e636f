"""The programs whose files can be imported. A new one is added to a list here, and has a module of its own."""

from assistant.store.files import own
from assistant.store.files.databases import llm_logs, ollama, oterm
from assistant.store.files.programs import (
    ai_studio,
    chatgpt,
    claude,
    deepseek,
    grok,
    librechat,
    llama_cpp,
    lm_studio,
    open_webui,
    openassistant,
    sillytavern,
    text_generation_webui,
    threads,
)

CONVERSATIONS = (
    own.CONVERSATION,
    chatgpt.CONVERSATION,
    claude.CONVERSATION,
    deepseek.CONVERSATION,
    grok.CONVERSATION,
    open_webui.CHATS,
    lm_studio.CONVERSATION,
    librechat.CONVERSATION,
    llama_cpp.CONVERSATION,
    text_generation_webui.CONVERSATION,
    ai_studio.CONVERSATION,
    threads.LIST,
    openassistant.TREE,
)
MESSAGES = (threads.MESSAGES, sillytavern.CHAT, openassistant.MESSAGES, open_webui.FEEDBACK)
DATABASES = (llm_logs.LOGS, oterm.STORE, ollama.APP)
GROWING = frozenset(one.name for one in (*CONVERSATIONS, *MESSAGES, *DATABASES) if one.grows)
"""Programs whose exports give each message the same name every time."""

_PROGRAMS = dict.fromkeys(one.program for one in (*CONVERSATIONS, *MESSAGES, *DATABASES))
KNOWN = (
    f"It can be of {', '.join(_PROGRAMS)}, or a data set in JSON or JSON Lines (messages, ShareGPT, Alpaca, prompt and "
    "completion, preferences), or a transcript in Markdown that was exported here."
)
"""What an error says of a file that is none of these."""
