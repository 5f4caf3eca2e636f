"""Every way the program fails on purpose.

    AssistantError
    ├── SettingsError             config.toml says something we do not understand
    ├── StoreError                the log can't be used
    │   ├── DatabaseDamaged       the file is no sound SQLite database
    │   ├── DatabaseTooNew        written by a newer version of this program
    │   ├── DatabaseUnwritable    read-only folder or file, or a full disk
    │   └── ImportRefused         a file can't be imported; nothing of it was
    ├── ReplayRefused             a reply can't be made again as it was
    ├── ModelError                a model can't be used
    │   ├── ModelUnknown          no model of that name or path
    │   ├── ModelIncomplete       files are missing or damaged
    │   ├── ModelUnsupported      an architecture or format we can't run
    │   ├── ModelTooLarge         it doesn't fit this machine's memory
    │   ├── ModelBroken           it computes no numbers: damaged weights
    │   ├── AdapterError          an adapter can't be used, or not with this model
    │   │   └── AdapterUnknown    no adapter of that name
    │   ├── DownloadFailed        network, disk or server trouble while pulling
    │   │   └── PullStopped       the person stopped it
    │   └── ChecksumMismatch      the file that came is not the file that was promised
    ├── EngineError               the engine could not answer
    │   ├── EngineUnreachable     no engine process, or no server at that address
    │   ├── EngineDied            it went away in the middle of an answer
    │   └── RequestRefused        it answered with an error: `code` says which
    │       └── ContextExceeded   the prompt is longer than the context
    └── TrainingError             a training, its data, its proof or its swap failed
        └── TrainingRefused       what was asked for can't be trained, or would do harm

The message of each says what happened, the value seen and what to do.
"""


class AssistantError(Exception):
    """Base of all errors that are shown to the user as one sentence, without a traceback."""


class SettingsError(AssistantError):
    """`config.toml` holds an unknown key or a value of the wrong kind."""


class StoreError(AssistantError):
    """The log can't be opened, read or written."""


class DatabaseDamaged(StoreError):
    """The file is not a sound SQLite database."""


class DatabaseTooNew(StoreError):
    """The file was written by a newer version of this program."""


class DatabaseUnwritable(StoreError):
    """The folder or the file is read-only, or the disk is full."""


class ImportRefused(StoreError):
    """A file that can't be imported: of no known format, damaged, or made to do harm. Nothing of it was stored."""


class ReplayRefused(AssistantError):
    """A reply can't be made again: what it was made with isn't known, or isn't here as it was."""


class ModelError(AssistantError):
    """A model can't be found, read, verified or run."""

    code = "model_error"


class ModelUnknown(ModelError):
    """There is no model of that name, and no such path."""

    code = "model_not_found"


class ModelIncomplete(ModelError):
    """Files of the model are missing or damaged."""

    code = "model_incomplete"


class ModelUnsupported(ModelError):
    """The architecture or the file format can't be run here."""

    code = "model_unsupported"


class ModelTooLarge(ModelError):
    """The model needs more memory than this machine has."""

    code = "insufficient_memory"


class ModelBroken(ModelError):
    """What the model computes is not numbers."""

    code = "model_broken"


class AdapterError(ModelError):
    """An adapter is damaged, of a kind we can't apply, or made for another model."""

    code = "adapter_unusable"


class AdapterUnknown(AdapterError):
    """There is no adapter of that name; it may have been deleted."""

    code = "adapter_not_found"


class DownloadFailed(ModelError):
    """The network, the server or the disk failed while a model was pulled. What came so far is kept."""

    code = "download_failed"


class PullStopped(DownloadFailed):
    """The person stopped a pull. What came so far is kept, and the next pull goes on from there."""


class ChecksumMismatch(ModelError):
    """The bytes that came are not those the catalogue promises. They are thrown away."""

    code = "checksum_mismatch"


class EngineError(AssistantError):
    """The engine could not answer."""


class EngineUnreachable(EngineError):
    """No engine process could be started, or no server listens at that address."""


class EngineDied(EngineError):
    """The engine went away in the middle of an answer."""


class RequestRefused(EngineError):
    """The engine answered with an error. `code` is its machine-readable name, `status` the HTTP status."""

    def __init__(self, message: str, *, code: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class ContextExceeded(RequestRefused):
    """The prompt is longer than the model's context."""


class TrainingError(AssistantError):
    """A training, its data, its proof or its swap failed."""


class TrainingRefused(TrainingError):
    """What was asked for can't be trained, or would do harm. The sentence says what would work."""
