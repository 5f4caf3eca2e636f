"""The endpoints, one file a group: what a request may say, and the handlers that answer it.

body     what bodies have in common, and how they are read
service  what the handlers of models share: who answers, and the events of an answer
replies  /v1/chat/completions, /v1/completions
texts    /v1/score, /v1/logprobs, /v1/tokenize, /v1/embeddings
listing  /v1/models, /v1/adapters
control  /engine/*, for the windows and commands of this data folder alone
"""
