"""Bent inputs: what changes and what must not."""

from random import Random

import pytest

from prompts.attacks import CHANGES, Attack, Attacked, Trial, attacked, attacks, effect

OPTIONS = "What makes bread rise?\nA. yeast\nB. pepper\nC. ink\nD. sand"


def bent(name: str, text: str, language: str = "en", seed: int = 0) -> Attacked | None:
    return attacked(Attack(name, name), text, "negative", language, Random(seed))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_language_has_40_orders_and_each_names_its_target(language: str) -> None:
    orders = [one for one in attacks(language) if one.pattern]
    assert len({one.pattern for one in orders}) == len(orders) >= 40
    assert all("{target}" in one.pattern for one in orders)
    assert len({one.name for one in attacks(language)}) == len(orders) + len(CHANGES)


@pytest.mark.parametrize("attack", attacks("en") + attacks("zh"), ids=lambda one: one.name)
def test_an_attack_is_the_same_for_the_same_seed(attack: Attack) -> None:
    text = f"It wasn't a very good film, I slept after ten minutes.\n{OPTIONS}\n现在我非常喜欢这部电影。"
    once, again = (attacked(attack, text, "{input} 100%", "en", Random(7)) for _ in range(2))
    assert once == again
    assert once is None or once.text != text


@pytest.mark.parametrize("order", [one for one in attacks("en") if one.pattern], ids=lambda one: one.name)
def test_an_order_leaves_the_text_whole(order: Attack) -> None:
    found = attacked(order, "The soup {target} was cold.", "positive", "en", Random(0))
    assert found is not None
    assert "The soup {target} was cold." in found.text
    assert "positive" in found.text


def test_typos_are_few_and_spare_short_words() -> None:
    text = "The waiter remembered us from last year and brought ice cream to our table"
    found = bent("typos", text)
    assert found is not None
    changed = [pair for pair in zip(text.split(), found.text.split(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1
    assert len(changed[0][0]) > 3


def test_a_chinese_typo_changes_one_character() -> None:
    found = bent("typos", "他在做饭", "zh", 3)
    assert found is not None
    assert sum(a != b for a, b in zip("他在做饭", found.text, strict=False)) >= 1


def test_rewording_keeps_a_capital_and_whole_words() -> None:
    found = bent("rewording", "It isn't really a film about filming.")
    assert found is not None
    assert found.text == "It is not very a movie about filming."
    assert bent("rewording", "Yesterday") is None


def test_options_move_and_their_letters_stay() -> None:
    found = bent("option order", OPTIONS)
    assert found is not None
    was = dict(line.split(". ") for line in OPTIONS.split("\n")[1:])
    now = dict(line.split(". ") for line in found.text.split("\n")[1:])
    assert list(now) == list("ABCD")
    assert now != was
    assert {letter: was[found.originally[letter]] for letter in now} == now
    assert bent("option order", "No options here. A. one") is None


def test_nothing_to_change_is_no_attack() -> None:
    assert bent("lower case", "all small") is None
    assert bent("upper case", "没有字母", "zh") is None
    assert bent("half width", "plain") is None
    full = bent("half width", "ＡＢＣ：１２３", "zh")
    assert full is not None
    assert full.text == "ABC:123"


def test_an_unknown_language_is_attacked_in_english() -> None:
    assert attacks("fr") == attacks("en")


def test_the_effect_counts_each_item_once() -> None:
    one, other = Attack("override 1", "override", "x"), Attack("override 2", "override", "y")
    trials = [
        Trial(one, 0, 1.0, 0.0, True, True),
        Trial(other, 0, 1.0, 0.0, True, False),
        Trial(one, 1, 1.0, 1.0, False, False),
    ]
    found = effect("override", trials)
    assert (found.trials, found.flipped, found.obeyed, found.difference) == (3, 2 / 3, 1 / 3, -0.5)
    assert found.low <= -0.5 <= found.high
