"""The Llama family's forward pass, our own: the decode step, its weights in 4, 8 or 16 bits, its rotary positions."""
