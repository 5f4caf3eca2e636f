"""The network in training: forward and backward pass, trained parameters, losses."""
