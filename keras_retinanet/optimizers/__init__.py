"""What moves the weights: optimizers, their learning rates, the gradients' sum and the average."""
