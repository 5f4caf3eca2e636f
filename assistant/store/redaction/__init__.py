"""Personal data of a log: reviewed, put out of exports and training data, and, when asked, out of the log itself."""
