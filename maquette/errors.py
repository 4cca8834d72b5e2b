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
    └── OutputError              results could not be written

Every error carries a stable ``code`` (used in JSON, in gRPC details and in problem documents), the exit code of the
command line, and one sentence that says what was expected and what came.
"""

from typing import ClassVar


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
