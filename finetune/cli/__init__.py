"""The commands of `finetune`, one file each."""
