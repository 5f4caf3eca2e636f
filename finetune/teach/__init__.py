"""Teach: corrected replies, learned within a minute, checked by asking again, then kept or dropped.

`corrections` reads them from the log, `frames` puts their questions in other words, `material` makes the rows that are
learned and the anchors that hold everything else, `loop` trains, `asking` asks before and after, `course` joins these
into a run, `outcome` says what came of it.
"""
