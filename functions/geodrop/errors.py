"""The errors that cross module borders."""

from __future__ import annotations


class ContractError(Exception):
    """A dataset's contract is wrong. The text names the file, the key and what is expected."""


class UnreadableObjectError(Exception):
    """An object can never be read as its contract says: retrying the same bytes cannot help.

    The object is recorded as failed and its message goes, retry by retry, to the dead-letter queue.
    """


class DeferredObjectError(Exception):
    """An object is too large for the time that this invocation has left.

    The object is recorded as deferred, for the backfill path, and its message is acknowledged.
    """


class MissingObjectError(Exception):
    """The object (or that version of it) is not in the bucket now: a later event may explain it."""
