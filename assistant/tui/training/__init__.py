"""What the Train screen is about: the commands it starts, the course of a training, and words for both."""
