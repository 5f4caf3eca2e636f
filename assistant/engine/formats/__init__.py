"""The files of weights and tokenizers: safetensors, GGUF, and blocks of quantised weights."""
