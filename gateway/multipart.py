"""multipart/form-data (RFC 7578) as it arrives, by python-multipart's parser; no part is ever held as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from maquette.errors import BodyInvalid, BodyTypeUnknown

_MOST_HEADERS = 8
_LONGEST_HEADER = 4096
_PLAIN = {"", "7bit", "8bit", "binary"}


@dataclass(frozen=True)
class Begin:
    """A part begins.

    Attributes:
        field: Name of the form's field.
        file_name: As the sender has it; None for what is no file.
    """

    field: str
    file_name: str | None


@dataclass(frozen=True)
class Data:
    """Some bytes of the part that has begun."""

    view: memoryview


@dataclass(frozen=True)
class End:
    """The part that has begun is complete."""


Happening = Begin | Data | End


class Multipart:
    """Tells what happens in a body that is fed to it piece by piece."""

    def __init__(self, content_type: str) -> None:
        """Prepare for a body.

        Raises:
            BodyTypeUnknown: The header names another kind of body.
            BodyInvalid: It names no boundary, or one that is none.
        """
        media_type, options = parse_options_header(content_type)
        if media_type != b"multipart/form-data":
            raise BodyTypeUnknown("expected a body of multipart/form-data, found another or none")
        boundary = options.get(b"boundary")
        if not boundary:
            raise BodyInvalid("expected a boundary in the header Content-Type, found none")
        self._happened: list[Happening] = []
        self._headers: dict[str, str] = {}
        self._name, self._value = bytearray(), bytearray()
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_part_data": self._on_part_data,
                    "on_part_end": lambda: self._happened.append(End()),
                    "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_end": self._on_end,
                },
                max_header_count=_MOST_HEADERS,
                max_header_size=_LONGEST_HEADER,
            )
        except FormParserError as error:
            raise _invalid(error) from error

    def feed(self, piece: bytes) -> Iterator[Happening]:
        """What happens in the next piece of the body; to be taken to its end.

        Raises:
            BodyInvalid: It cannot be parsed.
        """
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _invalid(error) from error
        happened, self._happened = self._happened, []
        yield from happened

    def end(self) -> None:
        """The body has ended.

        Raises:
            BodyInvalid: It is cut short.
        """
        if not self._ended:
            raise BodyInvalid("expected a form that ends with its boundary, found one that is cut short")

    def _on_part_begin(self) -> None:
        self._headers.clear()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._happened.append(Data(memoryview(data)[start:end]))

    def _on_header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._name.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        if self._headers.get("content-transfer-encoding", "").strip().lower() not in _PLAIN:
            raise BodyInvalid("expected parts without a transfer encoding, found one with")
        disposition, options = _options(self._headers.get("content-disposition", ""))
        if disposition != "form-data" or "name" not in options:
            raise BodyInvalid("expected parts with a Content-Disposition form-data and a name, found one without")
        self._happened.append(Begin(options["name"], options.get("filename")))

    def _on_end(self) -> None:
        self._ended = True


def _options(header: str) -> tuple[str, dict[str, str]]:
    # The parser works on Latin-1; names are UTF-8 (RFC 7578, 5.1), which survives the way there and back.
    value, options = parse_options_header(header.encode().decode("latin-1"))
    return value.decode("latin-1"), {k.decode("latin-1"): v.decode("utf-8", "replace") for k, v in options.items()}


def _invalid(error: FormParserError) -> BodyInvalid:
    return BodyInvalid(f"expected a body of multipart/form-data, found one that cannot be parsed: {error}")
