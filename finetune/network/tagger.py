"""A model with an entity head: texts in, entities out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from assistant.errors import TrainingRefused
from finetune import tagging
from finetune.base import Base
from finetune.config import TrainConfig
from finetune.data.example import Entity
from finetune.data.tokens import Row, Tokenizer
from finetune.network.both import Both


@dataclass(frozen=True)
class Tagger:
    """An adapter with an entity head. `types`: the entity types it tags."""

    both: Both
    tokenizer: Tokenizer
    types: Sequence[str]

    @classmethod
    def load(cls, base: Base, folder: Path, config: TrainConfig) -> Self:
        """Load the adapter in `folder`. Raises `TrainingRefused` if it has no entity head."""
        types = tagging.types_in(folder)
        if not types:
            raise TrainingRefused(
                f"{folder.name} did not learn to tag entities. Make a dataset with `finetune data --kind entities`, "
                "and train on it."
            )
        return cls(Both.load(base, folder, config.precision), base.tokenizer_of_rows(config.block_tokens), types)

    def find(self, texts: Sequence[str]) -> list[list[Entity] | None]:
        """Entities of each text, in order; None for a text that doesn't fit the context."""
        return self.read(texts, [tagging.rows(tagging.untagged(one, self.types), self.tokenizer) for one in texts])

    def read(self, texts: Sequence[str], items: Sequence[Sequence[Row]]) -> list[list[Entity] | None]:
        """As `find`, for texts with their rows."""
        found: list[list[Entity] | None] = [None] * len(texts)
        for item, tags in self.both.tags(items):
            (row,) = items[item]
            found[item] = tagging.spans(tags, row, texts[item], self.tokenizer, self.types)
        return found
