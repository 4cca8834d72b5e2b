"""``maquette detect``."""

from typing import Any

from maquette import pipeline
from maquette.cli import choices
from maquette.cli.console import error_json, note, one_line, show_json, show_table
from maquette.errors import InputError
from maquette.report import face_json
from maquette.settings import Settings


def detect(photos: choices.Photos, as_json: choices.AsJson = False) -> int:
    """Find the faces in photos, with pose and quality.

    A photo that cannot be used is named; the others are still looked at.
    """
    settings = Settings()
    detector = pipeline.local_detector(settings)
    entries: list[dict[str, Any]] = []
    rows: list[list[str]] = []
    status = 0
    for path in photos:
        try:
            (photo,) = pipeline.read_photos([path], settings)
            faces = pipeline.detect(detector, photo)
        except InputError as error:
            status = status or error.exit_code
            note(f"{path}: {one_line(error)}")
            entries.append({"path": str(path), "error": error_json(error)})
            continue
        entries.append(
            {
                "path": str(path),
                "sha256": photo.sha256,
                "width": photo.width,
                "height": photo.height,
                "faces": [{"number": i, **face_json(face)} for i, face in enumerate(faces, 1)],
            }
        )
        for number, face in enumerate(faces, 1):
            angles = [f"{a:.0f}" for a in (face.yaw, face.pitch, face.roll)]
            reasons = f" ({', '.join(face.quality.reasons)})" if face.quality.reasons else ""
            quality = f"{face.quality.verdict}{reasons}"
            rows.append([photo.name, str(number), f"{face.size:.0f}", *angles, f"{face.score:.2f}", quality])
    if as_json:
        show_json({"photos": entries})
    elif rows:
        figures = ("face", "size px", "yaw", "pitch", "roll", "score")
        show_table(["photo", *figures, "quality"], rows, right=figures)
    return status
