"""What a template does to texts: one after another, to every row of a file, tested, attacked and improved."""
