"""Finding exchanges: by words, filtered, sorted, a page at a time."""
