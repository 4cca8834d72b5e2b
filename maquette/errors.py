"""The one exception tree; every room raises these and every door maps them.

    MaquetteError
    ├── InputError               the caller's data
    │   ├── PhotoError           a file that is no usable picture
    │   │   ├── PhotoUnreadable      not a picture, truncated, or of an unsupported kind
    │   │   └── PhotoTooLarge        beyond the byte or pixel limit
    │   ├── NoFaceFound          no face, or only false ones
    │   ├── FaceNotFound         the face asked for (``--face``) is not there
    │   ├── FaceUnusable         a face that cannot be reconstructed well enough
    │   ├── PeopleMixed          several photos that do not show one person
    │   ├── OptionInvalid        an option out of its range
    │   └── MeshInvalid          a mesh that cannot be processed
    ├── SetupError               this installation
    │   ├── NetworkFilesMissing  landmark networks not set up
    │   ├── ModelFileInvalid     a model file that is damaged or of another version
    │   ├── DownloadFailed       offline, or the registry did not answer
    │   └── DependencyMissing    an optional package or a system library
    ├── OutputError              results could not be written
    ├── ServiceError             a service, or the way to it
    │   ├── ServiceUnavailable   it does not answer: a later try may succeed
    │   ├── DeadlineExceeded     the work took longer than the caller gave it
    │   ├── Overloaded           its queue is full: try again after ``retry_after_seconds``
    │   ├── Cancelled            the caller did not want the answer any more
    │   ├── MessageInvalid       a message that cannot be parsed, or whose fields do not fit together
    │   ├── MessageTooLarge      a message beyond the limit
    │   ├── ServiceRefused       no right to call it, or a certificate it does not trust
    │   └── ServiceMismatch      it does not know the call: it is of another version
    ├── StoreError               the object store
    │   ├── ObjectMissing        no such object
    │   ├── ObjectCorrupt        bytes that are not those its digest names
    │   ├── StoreUnavailable     it does not answer, or a passing fault: a later try may succeed
    │   ├── StoreFull            no space left, or a quota reached
    │   └── StoreRefused         wrong credentials, rights, certificate or bucket: trying again does not help
    ├── JobError                 the jobs, or their database
    │   ├── HeadNotFound         no such head, or another's
    │   ├── ProductNotFound      the head has no such file
    │   ├── JobConflict          the head's state does not allow it
    │   │   └── IdempotencyMismatch  the key was used for another request
    │   ├── LeaseLost            another worker has the job, or it is over
    │   ├── WorkerLost           the workers that had the job died too often
    │   ├── PhotosExpired        the photos' time was over before the work was done
    │   ├── JobsUnavailable      the database does not answer, or a passing fault: a later try may succeed
    │   └── JobsRefused          wrong credentials, rights, or a database of another version
    ├── AccessError              an API key
    │   ├── KeyInvalid           none, unknown or revoked
    │   ├── ScopeMissing         it may not do this
    │   └── QuotaExceeded        it has done all it may for now: again after ``retry_after_seconds``
    │       └── RateExceeded     it asks too often
    └── RequestError             an HTTP request
        ├── RouteUnknown         an address there is not
        ├── MethodUnknown        a method that the address does not have
        ├── BodyInvalid          a body that cannot be parsed
        ├── BodyTooLarge         a body beyond the limit
        ├── BodyTooSlow          a body that does not arrive in time
        ├── BodyTypeUnknown      a body of a media type that is not taken
        ├── FieldInvalid         a field, parameter or header that is missing, unknown or out of its range
        └── RangeInvalid         a range that the file does not have

Every error carries a stable ``code`` (used in JSON, in gRPC details and in problem documents), the exit code of the
command line, and one sentence that says what was expected and what came.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class MaquetteError(Exception):
    """Root of the tree.

    Attributes:
        code: Stable snake_case name of the error.
        exit_code: Exit status of the command line.
        detail: Facts about the failure, JSON-serialisable.
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, **detail: object) -> None:
        super().__init__(message)
        self.detail = detail


class InputError(MaquetteError):
    """The caller's data cannot be used."""

    code = "input_invalid"
    exit_code = 3


class PhotoError(InputError):
    """A file that is no usable picture."""

    code = "photo_invalid"


class PhotoUnreadable(PhotoError):
    """Not a picture, truncated, or of an unsupported kind."""

    code = "photo_unreadable"


class PhotoTooLarge(PhotoError):
    """Beyond the byte or pixel limit."""

    code = "photo_too_large"


class NoFaceFound(InputError):
    """No face in the photo, or only false ones."""

    code = "no_face_found"
    exit_code = 4


class FaceNotFound(InputError):
    """The face that was asked for is not there."""

    code = "face_not_found"
    exit_code = 4


class FaceUnusable(InputError):
    """A face that cannot be reconstructed well enough."""

    code = "face_unusable"
    exit_code = 4


class PeopleMixed(InputError):
    """Several photos that do not show one person."""

    code = "people_mixed"
    exit_code = 4


class OptionInvalid(InputError):
    """An option out of its range."""

    code = "option_invalid"
    exit_code = 2


class MeshInvalid(InputError):
    """A mesh that cannot be processed."""

    code = "mesh_invalid"


class SetupError(MaquetteError):
    """This installation lacks something."""

    code = "setup_incomplete"
    exit_code = 5


class NetworkFilesMissing(SetupError):
    """The landmark networks are not set up."""

    code = "network_files_missing"


class ModelFileInvalid(SetupError):
    """A model file that is damaged or of another version."""

    code = "model_file_invalid"


class DownloadFailed(SetupError):
    """Offline, or the registry did not answer."""

    code = "download_failed"


class DependencyMissing(SetupError):
    """An optional package or a system library is missing."""

    code = "dependency_missing"


class OutputError(MaquetteError):
    """Results could not be written."""

    code = "output_failed"
    exit_code = 6


class ServiceError(MaquetteError):
    """A service failed, or the way to it."""

    code = "service_failed"
    exit_code = 8


class ServiceUnavailable(ServiceError):
    """The service does not answer: a later try may succeed."""

    code = "service_unavailable"


class DeadlineExceeded(ServiceError):
    """The work took longer than the caller gave it."""

    code = "deadline_exceeded"


class Overloaded(ServiceError):
    """The service's queue is full: try again after ``retry_after_seconds`` of the detail."""

    code = "overloaded"


class Cancelled(ServiceError):
    """The caller did not want the answer any more."""

    code = "cancelled"


class MessageInvalid(ServiceError):
    """A message that cannot be parsed, or whose fields do not fit together."""

    code = "message_invalid"


class MessageTooLarge(ServiceError):
    """A message beyond the limit."""

    code = "message_too_large"


class ServiceRefused(ServiceError):
    """No right to call the service, or a certificate that it does not trust."""

    code = "service_refused"


class ServiceMismatch(ServiceError):
    """The service does not know the call: it is of another version."""

    code = "service_mismatch"


class StoreError(MaquetteError):
    """The object store failed."""

    code = "store_failed"
    exit_code = 6


class ObjectMissing(StoreError):
    """The store holds no such object."""

    code = "object_missing"


class ObjectCorrupt(StoreError):
    """Bytes that are not those the digest names."""

    code = "object_corrupt"


class StoreUnavailable(StoreError):
    """The store does not answer, or has a passing fault: a later try may succeed."""

    code = "store_unavailable"


class StoreFull(StoreError):
    """No space left in the store, or a quota reached."""

    code = "store_full"


class StoreRefused(StoreError):
    """Wrong credentials, rights, certificate or bucket: trying again does not help."""

    code = "store_refused"


class JobError(MaquetteError):
    """A job could not be asked for, done or held."""

    code = "job_failed"
    exit_code = 8


class HeadNotFound(JobError):
    """There is no such head, or it is another's."""

    code = "head_not_found"


class ProductNotFound(JobError):
    """The head has no such file."""

    code = "product_not_found"


class JobConflict(JobError):
    """The state of the head does not allow it."""

    code = "job_conflict"


class IdempotencyMismatch(JobConflict):
    """The idempotency key was used for another request."""

    code = "idempotency_mismatch"


class LeaseLost(JobError):
    """The job is another worker's now, or over: what this one has made of it does not count."""

    code = "lease_lost"


class WorkerLost(JobError):
    """The workers that had the job died too often."""

    code = "worker_lost"


class PhotosExpired(JobError):
    """The photos' time was over before the work was done."""

    code = "photos_expired"


class JobsUnavailable(JobError):
    """The jobs' database does not answer, or has a passing fault: a later try may succeed."""

    code = "jobs_unavailable"


class JobsRefused(JobError):
    """Wrong credentials, rights, or a database of another version: trying again does not help."""

    code = "jobs_refused"


class AccessError(MaquetteError):
    """An API key does not allow it."""

    code = "access_denied"
    exit_code = 8


class KeyInvalid(AccessError):
    """No API key, or one that is unknown or revoked."""

    code = "key_invalid"


class ScopeMissing(AccessError):
    """The API key is not for this."""

    code = "scope_missing"


class QuotaExceeded(AccessError):
    """The API key has done all that it may for now: try again after ``retry_after_seconds`` of the detail."""

    code = "quota_exceeded"


class RateExceeded(QuotaExceeded):
    """The API key asks too often: try again after ``retry_after_seconds`` of the detail."""

    code = "rate_exceeded"


class RequestError(MaquetteError):
    """An HTTP request that cannot be answered as it is."""

    code = "request_invalid"
    exit_code = 8


class RouteUnknown(RequestError):
    """There is nothing at this address."""

    code = "route_unknown"


class MethodUnknown(RequestError):
    """The address does not have this method."""

    code = "method_unknown"


class BodyInvalid(RequestError):
    """A body that cannot be parsed."""

    code = "body_invalid"


class BodyTooLarge(RequestError):
    """A body beyond the limit."""

    code = "body_too_large"


class BodyTooSlow(RequestError):
    """A body that does not arrive in time."""

    code = "body_too_slow"


class BodyTypeUnknown(RequestError):
    """A body of a media type that is not taken."""

    code = "body_type_unknown"


class FieldInvalid(RequestError):
    """A field, parameter or header that is missing, unknown or out of its range; ``errors`` of the detail names it."""

    code = "field_invalid"


class RangeInvalid(RequestError):
    """A range that the file does not have."""

    code = "range_invalid"


def error_of(code: str, message: str, detail: Mapping[str, Any]) -> MaquetteError:
    """The error of this tree with a code; where a class inherits its code, its parent counts.

    Args:
        code: As another process wrote it; of one that is not known here, a ServiceError with ``remote_code`` is made.
        message: Its sentence.
        detail: Its facts.
    """
    below: list[type[MaquetteError]] = [MaquetteError]
    for kind in below:
        if kind.code == code:
            error, facts = kind(message), dict(detail)
            break
        below += kind.__subclasses__()
    else:
        error, facts = ServiceError(message), {**detail, "remote_code": code}
    # Not by keywords: what another release calls a detail need not be one that can be passed so.
    error.detail = facts
    return error
