"""Progress of work as events."""

from finetune.progress import Advanced, Progress, Stepped, Work, as_line, from_line


def test_a_line_is_the_event_again() -> None:
    for one in (Advanced("test part", 3, 9, 1.5), Stepped(2, 150, 2.5, 1e-4, 1.0, 580.0, 200.0, 1, 60.0)):
        assert from_line(as_line(one)) == one
    for other in ("", "{}", "[]", '{"event": "unknown"}', '{"event": "advanced"}', "Loading …"):
        assert from_line(other) is None


def test_work_says_a_few_times_a_second_how_long_it_still_takes() -> None:
    """Of 1,000 units at 100 a second, the first tenth in small pieces."""
    now, heard = [0.0], list[Progress]()
    work = Work(heard.append, clock=lambda: now[0])
    work.expect(1000)
    work.begin("first")
    for _ in range(100):
        now[0] += 0.01
        work.did(1)
    assert len(heard) <= 7
    assert isinstance(heard[-1], Advanced) and 8.5 < (heard[-1].seconds_left or 0) <= 9.5
    work.begin("second")
    now[0] += 9.0
    work.did(5000)  # more than was expected
    assert heard[-1] == Advanced("second", 1000, 1000, 0.0)
