"""The commands of `finetune`, a module each."""
