"""A row of a data set -> a conversation. All of its fields are looked at, whatever they are called.

A row holds some of: what was said before (`context`), what was asked, one or several answers with an order among them
(`answers`), and a judgement. `row` puts them together; answers to the same question become siblings (`branches`).
"""
