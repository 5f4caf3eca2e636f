"""Which adapter is this: its folder on disk, its hash, and whether it speaks for a model. Loads no torch.

configs   PEFT's `adapter_config.json`, as far as it changes what a model computes
stored    the tensors of a safetensors file: names, shapes, and whether they are finite
folder    one adapter's folder: its kind, its hash, or the reason why it can't be used
speakers  hash or name -> registered in the log -> folder checked; and what is in use for a model
"""
