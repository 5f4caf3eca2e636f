"""The Train screen: the next training and the trainings so far."""
