"""A small sound file of every program, as the program writes it: the values of the file, one after another."""

from typing import Any

OPEN_WEBUI: list[Any] = [
    {
        "id": "c1",
        "user_id": "u1",
        "title": "Fjords",
        "chat": {
            "id": "",
            "title": "Fjords",
            "models": ["m"],
            "params": {"system": "Be brief."},
            "tags": ["geography"],
            "history": {
                "currentId": "c",
                "messages": {
                    "a": {
                        "id": "a",
                        "parentId": None,
                        "childrenIds": ["b", "c"],
                        "role": "user",
                        "content": "What is a fjord?",
                        "timestamp": 1760000000,
                        "models": ["m"],
                        "files": [
                            {"type": "image", "url": "data:image/png;base64,xx"},
                            {"type": "file", "name": "map.txt", "file": {"data": {"content": "a map"}}},
                        ],
                    },
                    "b": {
                        "id": "b",
                        "parentId": "a",
                        "childrenIds": [],
                        "role": "assistant",
                        "content": '<details type="reasoning" done="true" duration="3">\n<summary>Thought for 3 seconds'
                        "</summary>\n&gt; Ice &amp; rock.\n</details>\nA long inlet.",
                        "model": "m",
                        "modelName": "M",
                        "timestamp": 1760000001,
                        "done": True,
                        "annotation": {
                            "rating": -1,
                            "reason": "Too short",
                            "comment": "more",
                            "details": {"rating": 3},
                        },
                        "feedbackId": "f",
                    },
                    "c": {
                        "id": "c",
                        "parentId": "a",
                        "childrenIds": [],
                        "role": "assistant",
                        "content": '<details type="tool_calls" name="x"><summary>Tool Executed</summary>r</details>\n'
                        "A drowned glacier valley.",
                        "model": "n",
                        "timestamp": 1760000009,
                        "annotation": {"rating": 1, "tags": ["geography"]},
                        "sources": [{"source": {"name": "x"}}],
                    },
                },
            },
            "messages": [{"id": "a", "role": "user", "content": "What is a fjord?"}],
            "timestamp": 1760000000000,
        },
        "updated_at": 1760000010,
        "created_at": 1760000000,
        "share_id": None,
        "archived": False,
        "pinned": True,
        "meta": {"tags": ["geography"]},
        "folder_id": None,
    }
]
FEEDBACK: list[Any] = [
    {
        "id": "f1",
        "user_id": "u1",
        "version": 0,
        "type": "rating",
        "data": {"rating": rating, "model_id": "m", "reason": "clear", "sibling_model_ids": ["n"]},
        "meta": {"model_id": "m", "message_id": message, "chat_id": "c1", "message_index": 1},
        "snapshot": {"chat": OPEN_WEBUI[0]},
        "created_at": 1760000020,
        "updated_at": 1760000020,
    }
    for rating, message in (("1", "b"), (-1, "c"))
]
LM_STUDIO: list[Any] = [
    {
        "name": "Fjords",
        "pinned": False,
        "createdAt": 1760000000000,
        "preset": "",
        "tokenCount": 90,
        "systemPrompt": "",
        "perChatPredictionConfig": {"fields": [{"key": "llm.prediction.systemPrompt", "value": "Be brief."}]},
        "clientInput": "not sent",
        "notes": ["mine"],
        "lastUsedModel": {"identifier": "a/b", "indexedModelIdentifier": "a/b/c.gguf"},
        "messages": [
            {
                "versions": [{"type": "singleStep", "role": "user", "content": [{"type": "text", "text": "Fjords?"}]}],
                "currentlySelected": 0,
            },
            {
                "versions": [
                    {
                        "type": "multiStep",
                        "role": "assistant",
                        "senderInfo": {"senderName": "some-model"},
                        "steps": [
                            {
                                "type": "contentBlock",
                                "style": {"type": "thinking", "ended": True},
                                "content": [{"type": "text", "text": "Ice."}],
                            },
                            {"type": "toolStatus", "statusState": {"status": {"type": "toolCallSucceeded"}}},
                            {
                                "type": "contentBlock",
                                "content": [{"type": "text", "text": "A long inlet."}],
                                "genInfo": {"stats": {"stopReason": "userStopped"}},
                            },
                        ],
                    },
                    {
                        "type": "multiStep",
                        "role": "assistant",
                        "steps": [
                            {
                                "type": "contentBlock",
                                "content": [{"type": "text", "text": "A valley."}],
                                "genInfo": {"stats": {"stopReason": "eosFound"}},
                            }
                        ],
                    },
                ],
                "currentlySelected": 1,
            },
            {
                "versions": [{"type": "singleStep", "role": "user", "content": [{"type": "text", "text": "Thanks"}]}],
                "currentlySelected": 0,
            },
        ],
    }
]
THREAD: list[Any] = [
    {
        "id": key,
        "object": "thread.message",
        "thread_id": "t1",
        "role": role,
        "content": [{"type": "reasoning", "text": {"value": "Ice."}}] * (role == "assistant")
        + [{"type": "text", "text": {"value": text, "annotations": []}}],
        "status": "ready",
        "created_at": time,
        "completed_at": time,
    }
    for key, role, text, time in (
        ("m1", "user", "What is a fjord?", 1760000000000),
        ("m2", "assistant", "A long inlet.", 1760000005000),
    )
]
ASSISTANTS: list[Any] = [{"object": "list", "data": THREAD[::-1], "first_id": "m2", "last_id": "m1", "has_more": False}]
LIBRECHAT: list[Any] = [
    {
        "conversationId": "l1",
        "endpoint": "openAI",
        "title": "Fjord talk",
        "exportAt": "13:18:04 GMT-0400",
        "branches": True,
        "recursive": True,
        "options": {"model": "gpt-x", "promptPrefix": "Be brief.", "temperature": 0.8, "title": "Fjord talk"},
        "messagesTree": [
            {
                "messageId": "1",
                "parentMessageId": "00000000-0000-0000-0000-000000000000",
                "conversationId": "l1",
                "sender": "User",
                "isCreatedByUser": True,
                "text": "What is a fjord?",
                "createdAt": "2024-05-01T16:35:11.530Z",
                "error": False,
                "unfinished": False,
                "model": None,
                "tokenCount": 9,
                "children": [
                    {
                        "messageId": "2",
                        "parentMessageId": "1",
                        "sender": "GPT",
                        "isCreatedByUser": False,
                        "model": "gpt-x",
                        "text": "",
                        "content": [{"type": "think", "think": "Ice."}, {"type": "text", "text": "An inlet."}],
                        "feedback": {"rating": "thumbsUp", "tag": {"key": "helpful"}, "text": "good"},
                        "children": [],
                    },
                    {
                        "messageId": "3",
                        "parentMessageId": "1",
                        "sender": "GPT",
                        "isCreatedByUser": False,
                        "text": "A val",
                        "unfinished": True,
                        "children": [],
                    },
                ],
            }
        ],
    }
]
LLAMA_CPP: list[Any] = [
    {
        "conv": {"id": "v1", "name": "Fjords", "lastModified": 1760000000000, "currNode": "2"},
        "messages": [
            {"id": "0", "convId": "v1", "type": "root", "timestamp": 1760000000000, "role": "system", "content": "",
             "parent": None, "thinking": "", "children": ["1"]},
            {"id": "1", "convId": "v1", "type": "text", "timestamp": 1760000001000, "role": "user",
             "content": "Fjords?", "parent": "0", "children": ["2", "3"],
             "extra": [{"type": "textFile", "name": "a.txt", "content": "a map"},
                       {"type": "imageFile", "name": "b.png", "base64Url": "data:x"}]},
            {"id": "2", "convId": "v1", "type": "text", "timestamp": 1760000002000, "role": "assistant",
             "content": "A long inlet.", "parent": "1", "thinking": "Ice.", "children": [], "model": "m",
             "timings": {"predicted_n": 5}},
            {"id": "3", "convId": "v1", "type": "text", "timestamp": 1760000003000, "role": "assistant",
             "content": "A valley.", "parent": "1", "children": [], "toolCalls": "[]"},
        ],
    }
]  # fmt: skip
TEXT_GENERATION_WEBUI: list[Any] = [
    {
        "internal": [["<|BEGIN-VISIBLE-CHAT|>", "Welcome."], ["What is a <fjord>?", "A valley."]],
        "visible": [["", "Welcome."], ["What is a &lt;fjord&gt;?", "A valley."]],
        "metadata": {
            "user_1": {
                "timestamp": "Oct 09, 2025 08:53",
                "attachments": [{"name": "a.txt", "type": "text/plain", "content": "a map"}],
            },
            "assistant_1": {
                "timestamp": "Oct 09, 2025 08:54",
                "model_name": "m",
                "versions": [
                    {"content": "A long inlet.", "visible_content": "A long inlet.", "timestamp": "Oct 09, 2025 08:53"},
                    {"content": "A valley.", "visible_content": "A valley.", "timestamp": "Oct 09, 2025 08:54"},
                ],
                "current_version_index": 1,
            },
        },
    }
]
AI_STUDIO: list[Any] = [
    {
        "runSettings": {"model": "models/x", "temperature": 1.0},
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "chunkedPrompt": {
            "chunks": [
                {"driveImage": {"id": "i"}, "role": "user", "tokenCount": 258},
                {"text": "What is a fjord?", "role": "user", "tokenCount": 5},
                {"text": "Ice.", "role": "model", "isThought": True, "parts": [{"text": "Ice.", "thought": True}]},
                {"text": "An inlet.", "role": "model", "finishReason": "STOP", "createTime": "2025-10-09T08:54:00Z"},
            ],
            "pendingInputs": [{"text": "not sent", "role": "user"}],
        },
    }
]
SILLYTAVERN: list[Any] = [
    {
        "user_name": "Sam",
        "character_name": "Guide",
        "create_date": "2026-01-02@03h04m05s",
        "chat_metadata": {"note": "x"},
    },
    {"name": "Guide", "is_user": False, "is_system": False, "send_date": "January 2, 2026 3:04am", "mes": "Welcome."},
    {"name": "Sam", "is_user": True, "is_system": False, "send_date": "2026-01-02T03:05:00.000Z", "mes": "Fjords?"},
    {"name": "System", "is_user": False, "is_system": True, "send_date": 1767323100000, "mes": "hidden"},
    {
        "name": "Guide",
        "is_user": False,
        "is_system": False,
        "send_date": "January 2, 2026 3:06am",
        "mes": "A valley.",
        "swipes": ["A long inlet.", "A valley."],
        "swipe_id": 1,
        "swipe_info": [{"send_date": "January 2, 2026 3:05am", "extra": {"model": "m"}}, {"extra": {}}],
        "extra": {"api": "x", "model": "n", "reasoning": "Ice.", "bookmark_link": "b"},
        "gen_started": "2026-01-02T03:05:30Z",
    },
]
GROK: list[Any] = [
    {
        "conversations": [
            {
                "conversation": {
                    "conversation_id": "g1",
                    "user_id": "u",
                    "create_time": "2025-06-21T19:28:21.177720Z",
                    "modify_time": "2025-06-21T19:30:01.846938Z",
                    "title": "Fjords",
                    "summary": "about fjords",
                    "starred": True,
                    "leaf_response_id": None,
                },
                "responses": [
                    {
                        "response": {
                            "response_id": key,
                            "conversation_id": "g1",
                            "message": text,
                            "sender": sender,
                            "create_time": f"2025-06-21T19:28:2{key}.0Z",
                            "parent_response_id": parent,
                            "thinking_trace": thought,
                            "metadata": {"requestModelDetails": {"modelId": "grok-3"}},
                            "web_search_results": [],
                        },
                        "share_link": None,
                    }
                    for key, parent, sender, text, thought in (
                        ("1", None, "human", "What is a fjord?", None),
                        ("2", "1", "ASSISTANT", "An inlet.", "Ice."),
                        ("3", "1", "ASSISTANT", "A valley.", ""),
                    )
                ],
            }
        ],
        "projects": [{"name": "p"}],
    }
]
DEEPSEEK: list[Any] = [
    {
        "id": "d1",
        "title": "Fjords",
        "inserted_at": "2025-06-21T19:28:21.177000+08:00",
        "updated_at": "2025-06-21T19:29:21.177000+08:00",
        "mapping": {
            "root": {"id": "root", "parent": None, "children": ["1"], "message": None},
            "1": {
                "id": "1",
                "parent": "root",
                "children": ["2"],
                "message": {
                    "files": [],
                    "model": "deepseek-chat",
                    "inserted_at": "2025-06-21T19:28:21.177000+08:00",
                    "fragments": [{"type": "REQUEST", "content": "What is a fjord?"}],
                },
            },
            "2": {
                "id": "2",
                "parent": "1",
                "children": [],
                "message": {
                    "files": [],
                    "model": "deepseek-reasoner",
                    "inserted_at": "2025-06-21T19:28:25.177000+08:00",
                    "fragments": [
                        {"type": "THINK", "content": "Ice."},
                        {"type": "SEARCH", "results": []},
                        {"type": "RESPONSE", "content": "An inlet."},
                    ],
                },
            },
        },
    }
]
OASST_TREE: list[Any] = [
    {
        "message_tree_id": "o1",
        "tree_state": "ready_for_export",
        "prompt": {
            "message_id": "o1",
            "user_id": "u",
            "created_date": "2023-02-05T14:23:50.983374+00:00",
            "text": "What is a fjord?",
            "role": "prompter",
            "lang": "en",
            "review_count": 3,
            "review_result": True,
            "deleted": False,
            "synthetic": False,
            "emojis": {"+1": 2},
            "replies": [
                {"message_id": key, "parent_id": "o1", "text": text, "role": "assistant", "rank": rank, "replies": []}
                for key, text, rank in (("o2", "Water.", 1), ("o3", "A drowned valley.", 0), ("o4", "No.", 2))
            ],
        },
    }
]
OASST_MESSAGES: list[Any] = [
    {
        "message_id": "o3",
        "parent_id": "o1",
        "message_tree_id": "o1",
        "text": "A valley.",
        "role": "assistant",
        "rank": 0,
    },
    {
        "message_id": "p1",
        "parent_id": None,
        "message_tree_id": "p1",
        "text": "Hello?",
        "role": "prompter",
        "rank": None,
    },
    {"message_id": "o1", "parent_id": None, "message_tree_id": "o1", "text": "What is a fjord?", "role": "prompter"},
    {"message_id": "o2", "parent_id": "o1", "message_tree_id": "o1", "text": "Water.", "role": "assistant", "rank": 1},
    {
        "message_id": "p2",
        "parent_id": "p1",
        "message_tree_id": "p1",
        "text": "Hi.",
        "role": "assistant",
        "deleted": False,
    },
    {"message_id": "o9", "parent_id": "o1", "message_tree_id": "o1", "text": "x", "role": "assistant", "deleted": True},
]

PROGRAM_FILES: dict[str, list[Any]] = {
    "open-webui": OPEN_WEBUI,
    "open-webui feedback": FEEDBACK,
    "lm-studio": LM_STUDIO,
    "threads": THREAD,
    "assistants": ASSISTANTS,
    "librechat": LIBRECHAT,
    "llama.cpp": LLAMA_CPP,
    "text-generation-webui": TEXT_GENERATION_WEBUI,
    "ai-studio": AI_STUDIO,
    "sillytavern": SILLYTAVERN,
    "grok": GROK,
    "deepseek": DEEPSEEK,
    "openassistant": OASST_TREE,
    "openassistant messages": OASST_MESSAGES,
}
