"""Time to the first token at turns 1 and 50 of a conversation, and after an edit and a regenerate.

python -m benchmarks.turns [--runs 3]
"""

import argparse
import statistics

from assistant.engine.engine import Engine
from assistant.engine.generate.sampling import Sampling
from assistant.events import Finished, Token
from benchmarks.engine_runs import chat, headline, model_path
from prompts.message import Message

TURNS = 50
SHORT = Sampling(temperature=0, max_tokens=24)


def reply(engine: Engine, messages: list[Message]) -> tuple[str, Finished]:
    events = list(chat(engine, messages, SHORT))
    finished = events[-1]
    assert isinstance(finished, Finished)
    return "".join(event.text for event in events if isinstance(event, Token)), finished


def conversation(engine: Engine) -> dict[str, tuple[float, int, int]]:
    """(seconds to the first token, prompt tokens, cached prompt tokens) of some turns."""
    engine._model.conversations.clear()
    messages: list[Message] = []
    seen = {}
    for turn in range(1, TURNS + 1):
        messages.append(Message("user", f"Tell me one fact about the number {turn}, in a short sentence."))
        text, finished = reply(engine, messages)
        messages.append(Message("assistant", text))
        seen[f"turn {turn}"] = finished
    seen["turn 50 once more"] = reply(engine, messages[:-1])[1]
    edited = [*messages[:48], Message("user", "And a fact about the sea?")]
    seen["turn 25 edited"] = reply(engine, edited)[1]
    wanted = ("turn 1", "turn 2", "turn 10", "turn 25", "turn 50", "turn 50 once more", "turn 25 edited")
    counts = {name: seen[name].usage for name in wanted}
    return {
        name: (seen[name].timing.first_token_s, counts[name].prompt_tokens, counts[name].cached_tokens)
        for name in wanted
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    engine = Engine.load(model_path())
    headline()
    seen = [conversation(engine) for _ in range(runs)]
    first = statistics.median(one["turn 1"][0] for one in seen)
    print(f"{'':<20}{'first token':>12}{'x turn 1':>10}{'prompt':>10}{'cached':>10}")
    for name, (_, prompt, cached) in seen[0].items():
        median = statistics.median(one[name][0] for one in seen)
        print(f"{name:<20}{median * 1000:>9.0f} ms{median / first:>10.2f}{prompt:>10,}{cached:>10,}")


if __name__ == "__main__":
    main()
