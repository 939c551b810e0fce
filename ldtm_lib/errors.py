"""One tree of errors: each class is a kind of problem, each message names the object, the value and the remedy."""


class LdtmError(Exception):
    """Anything that LDTM refuses to do, with the reason and the remedy in the message."""


class ConfigurationError(LdtmError):
    """A setting is unknown, missing or out of its range."""


class CalendarError(LdtmError):
    """A date is not a session of the exchange, or is outside of the calendar."""


class UnknownTicker(LdtmError):
    """A ticker is not in the universe."""


class DatabaseUnavailable(LdtmError):
    """PostgreSQL does not answer."""


class MigrationError(LdtmError):
    """A migration was edited after it was applied, is missing, or cannot be applied."""


class QueryError(LdtmError):
    """A file of queries cannot be read, or has no query of the requested name."""


class SourceError(LdtmError):
    """A price source cannot deliver the requested data."""


class MalformedFile(SourceError):
    """A file of bars cannot be read: the message names the file, the line and the remedy."""


class MissingBar(LdtmError):
    """A session that should have traded has no bar."""


class TooFewBars(LdtmError):
    """A ticker has too short a history for the requested work."""


class TrainingDiverged(LdtmError):
    """A model's loss stopped being finite."""


class CheckpointRefused(LdtmError):
    """A checkpoint file is missing, truncated, altered, or of another architecture."""


class CheckpointNotWritten(LdtmError):
    """A checkpoint file could not be written; no part of it is left."""


class FileNotRemoved(LdtmError):
    """A checkpoint file that is not needed could not be removed."""


class RegistryConflict(LdtmError):
    """Two promotions of one ticker collided, or a change does not fit the state of the registry."""


class LedgerRefused(LdtmError):
    """The ledger refuses to record rows, or to change what is already on record."""


class ReplayImpossible(LdtmError):
    """A forecast cannot be computed again: it is not on record, or its inputs or its network are missing or altered."""


class PublicationFailed(LdtmError):
    """A seal could not be published outside of the database."""


class NotProvable(LdtmError):
    """A forecast cannot be proven: it is not on record, not sealed or altered, or its proof cannot be written."""


class NotificationNotDelivered(LdtmError):
    """A channel did not accept a notification."""


class BackupFailed(LdtmError):
    """A backup could not be made; nothing is left under the name of its archive."""


class RestoreRefused(LdtmError):
    """An archive is damaged or does not fit the installation; the database was not changed."""


class MissingExtra(LdtmError):
    """A package of an optional extra is not installed."""


class ExportRefused(LdtmError):
    """An exported file is missing, truncated, altered, or not one that LDTM writes."""


class ExportNotWritten(LdtmError):
    """An exported file could not be written; no part of it is left at its path."""


class WindowRefused(LdtmError):
    """A window that was given to an exported network has a wrong shape, type or value, or no network exists for it."""


class EngineRefused(LdtmError):
    """A TensorRT engine cannot be built, or was built for another GPU, version or ONNX file."""


class CertificateRefused(LdtmError):
    """A certificate is unreadable, states a failure, or belongs to other files."""
