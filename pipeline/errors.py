"""Errors for people: what was asked, what was found, the nearest valid thing, the next command.

One class a situation. Anything derived from `PipelineError` is shown as its message alone, without a traceback,
in the log and in the scheduler's error window.
"""

from luigi.parameter import ParameterException


class PipelineError(Exception):
    """A situation that an operator can understand and act upon. `may_pass`: by waiting alone, so a retry may help."""

    may_pass = True


class ConfigurationError(PipelineError):
    """A setting has a value that cannot work."""

    may_pass = False


class CommandLineError(PipelineError):
    """The command line says something that cannot be meant."""


class ClockError(PipelineError):
    """The clock of this host cannot be right."""

    may_pass = False


class UnknownSettingError(PipelineError):
    """A command was given a setting that does not exist."""


# --- the session that was asked for ------------------------------------------------------------------------------


class InvalidDateError(PipelineError, ParameterException):
    """`--date` is no date of the calendar of months and days."""


class UnservedDateError(PipelineError):
    """Dates that no run can serve, or not yet: a mistake of who asked for them, by which nothing has failed."""


class SessionOutOfRangeError(UnservedDateError):
    """The date lies before the first session that the exchange calendar knows."""


class SessionNotSettledError(UnservedDateError):
    """The session has not closed, or its settlement margin has not passed."""


class NotFinalError(UnservedDateError):
    """The session's bars cannot be confirmed yet: `[quality] final_hours` have not passed since its close."""


class EmptyRangeError(UnservedDateError):
    """No session lies in the range that was asked for."""


class NothingKnownError(PipelineError):
    """Nothing is stored of the symbol and session that were asked for."""


# --- the database ------------------------------------------------------------------------------------------------


class DatabaseLockedError(PipelineError):
    """Another process holds the database file for longer than we are willing to wait."""


class DatabaseDamagedError(PipelineError):
    """The database file is there and cannot be opened: truncated, overwritten, or of something else."""

    may_pass = False


class DatabaseNewerError(PipelineError):
    """The database was migrated by a newer version of the code."""

    may_pass = False


class DataFolderError(PipelineError):
    """`[storage] data_dir` cannot be written by this user, or has no room left."""


class RestoreError(PipelineError):
    """There is no backup that the database could be restored from."""


class MixedSourcesError(PipelineError):
    """The database was filled from another source than the configured one."""

    may_pass = False


class RunInProgressError(PipelineError):
    """Another run of this installation holds the run lock."""


class SchedulerUnreachableError(PipelineError):
    """The central scheduler does not answer."""


# --- the listing -------------------------------------------------------------------------------------------------


class ListingError(PipelineError):
    """The exchange's listing could not be used; the stored universe stays as it was."""


class ListingUnavailableError(ListingError):
    """The server could not be reached, or answered with an HTTP error."""


class ListingRefusedError(ListingError):
    """HTTP 200, but the envelope says that the request failed (`status.rCode`)."""


class ListingUnreadableError(ListingError):
    """The answer is no JSON of the expected shape: an error page, a truncated body, a changed format."""


class ListingTooShortError(ListingError):
    """Fewer symbols than `[nasdaq] min_symbols`, or none."""


class ListingShrunkError(ListingError):
    """The list lost more than `[quality] max_universe_shrink` of the previous snapshot."""


class ListingDatesError(ListingError):
    """The listings of two exchanges are of different sessions."""


class ListingCapsError(ListingError):
    """Fewer symbols than `[quality] min_market_caps` have a market capitalisation."""


class ListingJumpedError(ListingError):
    """The number of companies above the limit changed by more than `[quality] max_universe_jump`."""


class ListingOutdatedError(ListingError):
    """The listing is older than the session that it is needed for."""


# --- the bars ----------------------------------------------------------------------------------------------------


class SourceOutageError(PipelineError):
    """The source answers, or fails, in the same way for almost every symbol: nothing is to be gained by going on."""


class NotReceivedError(PipelineError):
    """`[market] offline` forbids to ask a source, and what is needed was never received."""

    may_pass = False


class UnconfirmedError(PipelineError):
    """Too many bars of the session are provisional still: too few were answered for."""


class AuditError(PipelineError):
    """Histories cannot be audited as asked."""


class CoverageError(PipelineError):
    """Too small a share of the expected symbols was delivered."""


class FilesSourceError(PipelineError):
    """The folder of `source = files` lacks a file or a column."""

    may_pass = False


class SessionFailedError(PipelineError):
    """A session of a combined run met an error that nobody foresaw; alone, it fails with that error itself."""


# --- Spark, replica ----------------------------------------------------------------------------------------------


class JavaNotFoundError(PipelineError):
    """No Java runtime of the needed version is installed."""

    may_pass = False


class SparkJobError(PipelineError):
    """`spark-submit` ended with an error; the message names its log file."""


class SparkCrashError(SparkJobError):
    """The Java of a Spark job was ended by a signal: a crash of its own, or somebody's kill."""


class BarsChangedError(PipelineError):
    """Another run has changed bars while Spark worked on them: this one was stopped for a while, and taken for dead."""


class ReplicaError(PipelineError):
    """The copy differs from the database; the previous replica stays published."""


class LakeError(PipelineError):
    """The tables for other engines could not be published; the versions before stay readable."""


class ScanError(PipelineError):
    """A scan of the configuration cannot be run."""

    may_pass = False


class ExpressionError(PipelineError):
    """An expression of a scan is more than an expression, or names something that does not exist."""

    may_pass = False


# --- Redis, messages ---------------------------------------------------------------------------------------------


class RedisFeedError(PipelineError):
    """The feed could not be written or read; what is in Redis is the version before or the one behind, never half."""


class RedisUnreachableError(RedisFeedError):
    """No answer within `[redis] timeout`: the server is down, restarting, hanging, or the address is wrong."""


class RedisLoadingError(RedisFeedError):
    """The server answers, and is still reading its data from disk."""


class RedisRefusedError(RedisFeedError):
    """Wrong password, or a user that may not do what the feed needs."""


class RedisFullError(RedisFeedError):
    """The server has reached its `maxmemory` and may not evict."""


class RedisReadOnlyError(RedisFeedError):
    """The address is that of a read-only replica of the server."""


class RedisOvertakenError(RedisFeedError):
    """Another run has fed the same keys at the same time."""


class RedisUnhealthyError(RedisFeedError):
    """The feed was written, and what is found in Redis is not what should be there."""


class EventDeliveryError(PipelineError):
    """A transport did not take events; they wait in the outbox."""


class FeedOutdatedError(RedisFeedError):
    """The database replica lacks the session that the feed is wanted for."""


class AlertTestError(PipelineError):
    """A configured channel did not take the test message."""


class EvaluationError(PipelineError):
    """The sessions that rules are to be judged over were not run."""


class QueryError(PipelineError):
    """A query of an analyst cannot be answered by the replica."""


class DefinitionError(PipelineError):
    """An indicator of `[indicators] extra` cannot be computed."""

    may_pass = False
