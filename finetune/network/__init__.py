"""The model in training: its forward and backward pass, what is trained in it, and the losses."""
