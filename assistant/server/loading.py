"""Names of models -> engines that run them. Nothing heavy is imported until it is called."""

from collections.abc import Callable

from assistant.engine.models import catalogue
from assistant.errors import ModelUnknown, ModelUnsupported
from assistant.events import Loading
from assistant.paths import Paths
from assistant.server.embedding import Embeds, LoadEmbedder
from assistant.server.worker import Engine, Load
from assistant.settings import EngineSettings


def import_engine() -> None:
    """Import torch and what else an engine needs: seconds, spent before anyone has asked for them."""
    import assistant.engine.engine  # noqa: F401


def loader(paths: Paths, settings: EngineSettings) -> Load:
    """Loads a model by its name or path."""

    def load(model: str, progress: Callable[[Loading], None]) -> Engine:
        from assistant.engine.engine import Engine as TorchEngine

        found = catalogue.find(paths, model)
        if isinstance(found, catalogue.Remote):
            raise ModelUnknown(f"{model} runs on another server, {found.url}. Ask that one.")
        if found.embeds:
            raise ModelUnsupported(f"{model} makes vectors for search by meaning and can't chat. Choose another model.")
        return TorchEngine.load(
            found.folder,
            device=settings.device,
            dtype=settings.dtype,
            threads=settings.threads,
            kv_cache_bytes=settings.kv_cache_mb * 2**20,
            progress=progress,
        )

    return load


def embedder_loader(paths: Paths, settings: EngineSettings) -> LoadEmbedder:
    """Loads a model that only embeds by its name or path; None for a model that chats."""

    def load(model: str) -> Embeds | None:
        found = catalogue.find(paths, model)
        if isinstance(found, catalogue.Remote) or not found.embeds:
            return None
        from assistant.engine.networks.embedder import Embedder

        return Embedder.load(found.folder, threads=settings.threads)

    return load


def names(paths: Paths) -> list[str]:
    """The models that can be loaded."""
    return [model.name for model in catalogue.installed(paths)]
