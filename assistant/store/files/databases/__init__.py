"""SQLite files of chat programs, one module a program. They are opened for reading only."""
