"""Time to `score` 20 labels after one prompt, compared with one prefill of that prompt.

python -m benchmarks.score [--runs 7]
"""

import argparse
import statistics

from assistant.engine.engine import Engine
from assistant.engine.generate.schedule import alone
from assistant.engine.networks.network import Ask, Conversation
from assistant.engine.request import Score
from benchmarks.engine_runs import headline, in_turn, model_path, seconds
from prompts.message import Message

TOPICS = """
sport, politics, economy, science, technology, health, travel, food, music, film, fashion, education, environment,
crime, weather, religion, military affairs, local news, celebrity gossip, computer games
"""
LABELS = [topic.strip() for topic in TOPICS.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    engine = Engine.load(model_path())
    headline()
    text = "The minister said on Monday that the harbour would be rebuilt before the winter storms return. " * 9
    messages = [Message("user", f"Which topic is this text about? {text}")]
    prompt = engine.chat_format.encode(messages)
    tokens = [len(engine.chat_format.encode_following(label)) for label in LABELS]

    def prefill() -> list[float]:
        conversation = Conversation(engine._model.network.cache())
        return [seconds(lambda: engine.run([Ask(conversation, prompt)]))]

    def score() -> list[float]:
        engine._model.conversations.clear()
        return [seconds(lambda: list(alone(engine.steps(Score(messages, LABELS)), engine.run)))]

    prefill(), score()
    took = in_turn({"one prefill": prefill, "score of 20 labels": score}, runs)
    base = statistics.median(took["one prefill"])
    print(f"prompt of {len(prompt)} tokens, labels of {min(tokens)} to {max(tokens)} tokens")
    for name, values in took.items():
        print(f"  {name:<24}{statistics.median(values) * 1000:>8.0f} ms{statistics.median(values) / base:>8.2f}x")


if __name__ == "__main__":
    main()
