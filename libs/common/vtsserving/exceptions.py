"""One error tree for the SDK, the CLI, the services and the wire.

Each class carries what every border needs, so no border keeps a table of its own: `code` (stable, crosses the
wire and stands in HTTP error bodies), `http_status`, `exit_code` (of the CLI) and `retryable` (the same request
may succeed later, unchanged). docs/errors.md is generated from this module.

    VtsServingException
      InvalidArgument          what the caller passed is wrong        400, exit 2
        BadInput                 a request's body or headers            4xx
      NotFound                 no such thing                          404, exit 3
      Conflict                 it exists already, with other content  409, exit 4
      IntegrityError           bytes are not what they claim to be    500, exit 5
      AuthError                who the caller is                      401/403, exit 6
      Unavailable              not now; try again                     503, exit 7
        DeadlineExceeded         too late                               504
      IncompatibleEnvironment  Python or a framework is missing       500, exit 8
        NewerFormat              a later release wrote it               501
      StorageError             local disk or permission               500, exit 9
      ServerEnded              vtsserving.serve()'s child is gone     500, exit 1
      ModelError               the model's own code                   500, exit 1
      ProtocolError            a frame that cannot be read            500, exit 1
      RemoteError              a code that this version does not know
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

MAX_MESSAGE_CHARS: Final = 1_000
"""Longest message that leaves a process, in characters; longer ones are cut."""


class VtsServingException(Exception):
    """Root of every error that VtsServing raises on purpose."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        """Create the error.

        Args:
            message: one line, cause and next step; shown to users as it is.
            retry_after_s: when a retry makes sense, in seconds; only read where `retryable`.
        """
        super().__init__(message or self.__class__.__doc__ or self.code)
        self.retry_after_s = retry_after_s
        self.request_id = ""
        """Of the HTTP request that ended so, for the operator's log; empty where the error did not cross HTTP."""
        self.by_author = False
        """Whether it is a mistake of a Service's code, which its callers cannot mend."""

    @property
    def message(self) -> str:
        """The message as users see it, cut to MAX_MESSAGE_CHARS."""
        return str(self.args[0])[:MAX_MESSAGE_CHARS]

    @property
    def wire_code(self) -> str:
        """The code to send; differs from `code` only for RemoteError."""
        return self.code

    @property
    def status(self) -> int:
        """The HTTP status to answer with."""
        return self.http_status


# --- what the caller passed -------------------------------------------------------------------------------------


class InvalidArgument(VtsServingException, ValueError):
    """An argument is not valid."""

    code = "invalid_argument"
    http_status = 400
    exit_code = 2


class InvalidTag(InvalidArgument):
    """A name, version or tag breaks the grammar."""

    code = "invalid_tag"
    http_status = 422


class InvalidSignature(InvalidArgument):
    """A model signature names no callable method or has impossible options."""

    code = "invalid_signature"
    http_status = 422


class InvalidMetadata(InvalidArgument):
    """Labels or metadata hold a value that cannot be stored."""

    code = "invalid_metadata"
    http_status = 422


class SerializationError(InvalidArgument):
    """An object cannot be serialized; the message names it."""

    code = "not_serializable"
    http_status = 422


class UnsupportedValue(InvalidArgument):
    """A value has a type that cannot cross the wire; the message names the argument."""

    code = "unsupported_value"
    http_status = 422


class ForbiddenSource(InvalidArgument):
    """An address that models may not be fetched from."""

    code = "forbidden_source"


class BadDigest(InvalidArgument):
    """A digest is not `sha256:` and 64 lower-case hexadecimal digits."""

    code = "bad_digest"
    http_status = 422


class InvalidManifest(InvalidArgument):
    """A manifest is malformed, contradicts itself or names paths that may not exist."""

    code = "invalid_manifest"
    http_status = 422


class BlobUnknown(InvalidArgument):
    """A manifest refers to a blob that the store does not have; push the blob first."""

    code = "blob_unknown"


class ConfigurationError(InvalidArgument):
    """A setting has a bad value; the message names the setting."""

    code = "bad_configuration"


class RunnerNotInitialized(InvalidArgument):
    """The runner was called before `init_local()` and outside of a service."""

    code = "runner_not_initialized"


class BadInput(InvalidArgument):
    """The request cannot be read."""

    code = "bad_input"


class BadRequest(BadInput):
    """The HTTP request is malformed."""

    code = "bad_request"


class BadJson(BadInput):
    """The body is not valid JSON."""

    code = "bad_json"


class EmptyBody(BadInput):
    """The body is empty."""

    code = "empty_body"


class NonFinite(BadInput):
    """A number is NaN or infinite."""

    code = "non_finite"


class TooDeep(BadInput):
    """Values are nested too deeply."""

    code = "too_deep"


class BadNumber(BadInput):
    """A number has too many digits."""

    code = "bad_number"


class DuplicateKey(BadInput):
    """A JSON object names one key twice."""

    code = "duplicate_key"


class BadEncoding(BadInput):
    """The body is not UTF-8."""

    code = "bad_encoding"


class BadDeadline(BadInput):
    """The request's timeout is not a positive number of seconds."""

    code = "bad_deadline"


class UnknownField(BadInput):
    """The body has a field that the method does not know."""

    code = "unknown_field"
    http_status = 422


class UnknownArgument(BadInput):
    """A call names an argument that the method does not have."""

    code = "unknown_argument"


class WrongType(BadInput):
    """A value has the wrong type."""

    code = "wrong_type"
    http_status = 422


class Ragged(BadInput):
    """Rows differ in length."""

    code = "ragged"
    http_status = 422


class BadShape(BadInput):
    """An array has the wrong shape."""

    code = "bad_shape"
    http_status = 422


class BadDtype(BadInput):
    """An array has a dtype that is not supported or not expected."""

    code = "bad_dtype"
    http_status = 422


class OutOfRange(BadInput):
    """A number does not fit the expected dtype."""

    code = "out_of_range"
    http_status = 422


class MethodNotAllowed(BadInput):
    """The route exists, with another HTTP method."""

    code = "method_not_allowed"
    http_status = 405


class NotAcceptable(BadInput):
    """No representation that the client accepts."""

    code = "not_acceptable"
    http_status = 406


class RequestTimeout(BadInput):
    """The request did not arrive in time."""

    code = "request_timeout"
    http_status = 408


class TooLarge(BadInput):
    """The body is larger than the limit."""

    code = "too_large"
    http_status = 413


class TooManyRows(BadInput):
    """The request has more rows than the limit."""

    code = "too_many_rows"
    http_status = 413


class UriTooLong(BadInput):
    """The URL is longer than the limit."""

    code = "uri_too_long"
    http_status = 414


class UnsupportedMediaType(BadInput):
    """The body's content type or encoding is not supported."""

    code = "unsupported_media_type"
    http_status = 415


class RangeNotSatisfiable(BadInput):
    """The byte range lies outside of the content."""

    code = "range_not_satisfiable"
    http_status = 416


class HeadersTooLarge(BadInput):
    """The header block is larger than the limit."""

    code = "headers_too_large"
    http_status = 431


# --- no such thing, or one too many ------------------------------------------------------------------------------


class NotFound(VtsServingException):
    """No such thing."""

    code = "not_found"
    http_status = 404
    exit_code = 3


class ModelNotFound(NotFound):
    """No model has this name."""

    code = "model_not_found"


class VersionNotFound(ModelNotFound):
    """The model has no such version or alias."""

    code = "version_not_found"


class MethodNotFound(NotFound):
    """The model has no such signature."""

    code = "method_not_found"


class BlobNotFound(NotFound):
    """No blob has this digest."""

    code = "blob_not_found"


class Conflict(VtsServingException):
    """The state of the store forbids it."""

    code = "conflict"
    http_status = 409
    exit_code = 4


class AlreadyExists(Conflict):
    """The tag exists already, with other content."""

    code = "already_exists"


class InUse(Conflict):
    """Something still refers to it."""

    code = "in_use"


# --- bytes ------------------------------------------------------------------------------------------------------


class IntegrityError(VtsServingException):
    """Stored bytes do not match their digest."""

    code = "integrity_error"
    exit_code = 5


class DigestMismatch(IntegrityError):
    """Received bytes do not match the digest that was announced."""

    code = "digest_mismatch"
    http_status = 400


class SizeMismatch(IntegrityError):
    """Received bytes, or the blob of a manifest's file, are more or fewer than were announced."""

    code = "size_mismatch"
    http_status = 400


class CorruptArchive(IntegrityError):
    """The archive is damaged or not an archive."""

    code = "corrupt_archive"
    http_status = 400


class UnsafeArchive(IntegrityError):
    """The archive holds something that must not be extracted."""

    code = "unsafe_archive"
    http_status = 400


class ArchiveTooLarge(IntegrityError):
    """The archive unpacks to more than the limit."""

    code = "archive_too_large"
    http_status = 413


# --- who --------------------------------------------------------------------------------------------------------


class AuthError(VtsServingException):
    """The caller may not do this."""

    code = "unauthorized"
    http_status = 401
    exit_code = 6


class Forbidden(AuthError):
    """The token lacks the scope."""

    code = "forbidden"
    http_status = 403


# --- not now ----------------------------------------------------------------------------------------------------


class Unavailable(VtsServingException):
    """The service cannot answer now."""

    code = "unavailable"
    http_status = 503
    exit_code = 7
    retryable = True


class BusUnavailable(Unavailable):
    """The message bus is not connected."""

    code = "bus_unavailable"


class NoResponders(Unavailable):
    """Nobody listens on the subject."""

    code = "no_responders"


class NoBatcher(Unavailable):
    """No batcher is alive."""

    code = "no_batcher"


class NoRunner(Unavailable):
    """No runner can serve the model now."""

    code = "no_runner"


class BatcherLost(Unavailable):
    """The batcher that held the request is gone."""

    code = "batcher_lost"


class RunnerLost(Unavailable):
    """The runner that held the request is gone."""

    code = "runner_lost"


class QueueFull(Unavailable):
    """Too many requests wait already."""

    code = "queue_full"


class Overloaded(Unavailable):
    """The request cannot finish by its deadline."""

    code = "overloaded"


class ModelLoading(Unavailable):
    """The model is not loaded yet."""

    code = "model_loading"


class ModelUnloading(Unavailable):
    """The model is being unloaded, or was a moment ago; a later request loads it again."""

    code = "model_unloading"


class ModelLoadFailed(Unavailable):
    """The model could not be loaded; the message has the reason."""

    code = "model_load_failed"

    @classmethod
    def of(cls, model: object, reason: str) -> ModelLoadFailed:
        """The error for a reason, which may name the model itself; the message names it once."""
        return cls(reason if reason.startswith(f"{model}: ") else f"{model}: {reason}")


class ShuttingDown(Unavailable):
    """The service is draining."""

    code = "shutting_down"


class StoreUnavailable(Unavailable):
    """The model store cannot be reached."""

    code = "store_unavailable"


class GatewayUnavailable(Unavailable):
    """The gateway does not answer, or the connection to it broke; the message has its address."""

    code = "gateway_unavailable"


class ClockSkew(StoreUnavailable):
    """This machine's clock and the storage's differ too much for signed requests."""

    code = "clock_skew"


class DeadlineExceeded(Unavailable):
    """The request's deadline passed."""

    code = "deadline_exceeded"
    http_status = 504


# --- this machine -----------------------------------------------------------------------------------------------


class IncompatibleEnvironment(VtsServingException):
    """This Python or its packages cannot load the model."""

    code = "incompatible_environment"
    exit_code = 8


class MissingDependency(IncompatibleEnvironment, ImportError):
    """A package is not installed; the message says how to install it."""

    code = "missing_dependency"


class PythonVersionMismatch(IncompatibleEnvironment):
    """The model carries code of another Python version."""

    code = "python_version_mismatch"


class NewerFormat(IncompatibleEnvironment):
    """A later release wrote this record; nothing was changed."""

    code = "newer_format"
    http_status = 501


class StorageError(VtsServingException):
    """The local disk refuses: full, read-only or not permitted."""

    code = "storage_error"
    exit_code = 9


class NoSpace(StorageError):
    """No space is left where the bytes must go."""

    code = "no_space"
    http_status = 507


# --- a server started from Python --------------------------------------------------------------------------------


class ServerEnded(VtsServingException):
    """A server that was started from Python ended before it took requests; the end of its log is in the message."""

    code = "server_ended"


# --- the model's own code ---------------------------------------------------------------------------------------


class ModelError(VtsServingException):
    """The model's own code failed."""

    code = "model_error"


class ModelFailed(ModelError):
    """The model raised an exception."""

    code = "model_failed"


class ModelCrashed(ModelError):
    """The model's process ended while it computed this request."""

    code = "model_crashed"


class ModelTimeout(ModelError):
    """The model did not return within its time limit."""

    code = "model_timeout"
    http_status = 504


class BadModelOutput(ModelError):
    """The model returned something that cannot be split into rows or sent."""

    code = "bad_model_output"


class ResultTooLarge(ModelError):
    """The result is larger than a message may be."""

    code = "result_too_large"


# --- the wire ---------------------------------------------------------------------------------------------------


class ProtocolError(VtsServingException):
    """A peer broke the protocol."""

    code = "protocol_error"


class BadFrame(ProtocolError):
    """A frame cannot be read."""

    code = "bad_frame"


class BadTensor(ProtocolError):
    """A tensor's bytes, shape and dtype do not agree."""

    code = "bad_tensor"


class UnsupportedProtocol(ProtocolError):
    """A frame has a protocol version that is not supported."""

    code = "unsupported_version"


class UnsupportedBody(ProtocolError):
    """A body is of a kind that this side does not read."""

    code = "unsupported_body"


class MessageTooLarge(ProtocolError):
    """A message is larger than the bus carries."""

    code = "message_too_large"
    http_status = 413

    def __init__(self, message: str = "", *, size: int = 0, limit: int = 0) -> None:
        """Create the error.

        Args:
            message: overrides the sentence that names both numbers.
            size: what was to be sent, bytes.
            limit: what the bus carries, bytes.
        """
        super().__init__(message or f"the message has {size} bytes; the limit is {limit}")
        self.size = size
        self.limit = limit


class NotAStore(ProtocolError):
    """The answer does not come from a model store; the message names the address."""

    code = "not_a_store"
    http_status = 502


class NotAGateway(ProtocolError):
    """The answer does not come from a gateway; the message names the address."""

    code = "not_a_gateway"
    http_status = 502


class RemoteError(VtsServingException):
    """A peer answered with a code that this version does not know."""

    code = "remote_error"

    def __init__(self, message: str = "", *, remote_code: str = "remote_error") -> None:
        """Create the error, keeping the peer's code."""
        super().__init__(message)
        self.remote_code = remote_code

    @property
    def wire_code(self) -> str:
        """The peer's own code."""
        return self.remote_code


def walk(root: type[VtsServingException] = VtsServingException) -> Iterator[type[VtsServingException]]:
    """Every class of the tree, parents first, in the order of definition."""
    yield root
    for child in root.__subclasses__():
        yield from walk(child)


_BY_CODE: dict[str, type[VtsServingException]] = {}


def from_code(code: str, message: str, *, retry_after_s: float | None = None) -> VtsServingException:
    """Rebuild an error that crossed the wire.

    Args:
        code: the `code` of one of the classes here, or one from a newer version.
        message: the sender's message.
        retry_after_s: the sender's advice, if it gave one.

    Returns:
        An instance of the class with this code; a RemoteError that keeps the code where there is none.
    """
    if not _BY_CODE:
        _BY_CODE.update({cls.code: cls for cls in walk()})
    cls = _BY_CODE.get(code)
    if cls is None:
        return RemoteError(message, remote_code=code)
    error = cls(message)
    error.retry_after_s = retry_after_s
    return error
