"""The log, in and out: one file a format, and one form between a file and the log (`transcript`).

file -> source -> reader -> Transcript -> settle -> writer -> log
log -> stored -> exporter -> lines of text
"""
