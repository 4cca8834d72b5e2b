"""What a head's user should know about how it came to be."""

import cv2
import numpy as np

from maquette.headmodel import ARKIT_NAMES
from maquette.rooms import PhotoView
from maquette.types import Caution, Quality, Verdict
from services.reconstructor.engines.open.fit import Sight, expression_of
from services.reconstructor.engines.open.patch import FacePatch
from services.reconstructor.engines.open.uncertainty import COVERED

_QUALITY = {
    "too_small": "the face is small; fine features are guessed",
    "turned_away": "the face is turned away; its far side and its depth are guessed",
    "blurred": "the face is blurred; fine features are guessed",
    "under_exposed": "the face is dark; its form is hard to see",
    "over_exposed": "parts of the face are burnt out",
    "mouth_open": "the mouth is wide open; lips and inner mouth are less reliable",
    "covered": "part of the face seems to be covered",
}
"""Reasons of the detector's verdict, in words."""

_SMALL_PX = 160.0
_TURNED_DEG = 30.0
_SHUT_EYE = 0.6
_NEAR_MM = 500.0
_LOOSE_MM = 4.0
_SIDE_LIGHT = 3.0
_GLASSES = 0.45
_BEARD, _BEARD_TO_CHEEK = 0.19, 1.5

_RIGHT_CHEEK = (50, 101, 118, 205, 36, 123)
_LEFT_CHEEK = (280, 330, 347, 425, 266, 352)
_CHEEKS = (50, 101, 205, 36, 280, 330, 425, 266, 117, 346)
_CHIN = (32, 262, 208, 428, 199, 210, 430, 194, 418, 211, 431, 169, 394, 135, 364)
_BRIDGE_SIDES, _BRIDGE_ENDS = (193, 417), (9, 197)


def cautions(view: PhotoView, sight: Sight) -> tuple[Caution, ...]:
    """Look at one photo and its fit.

    Args:
        view: Photo and face.
        sight: What was fitted.

    Returns:
        Each thing once, the detector's reasons first; messages begin with the photo's name.
    """
    face = view.face
    said: dict[str, str] = {}
    if face.quality.verdict is not Verdict.GOOD:
        said = {r: _QUALITY.get(r, r.replace("_", " ")) for r in face.quality.reasons}
    if "covered" in said:
        said["covered"] = _covered(face.quality)
    if face.size < _SMALL_PX:
        said.setdefault("too_small", f"the face is only {face.size:.0f} pixels large; fine features are guessed")
    if abs(face.yaw) > _TURNED_DEG:
        said.setdefault("turned_away", f"the face is turned by {abs(face.yaw):.0f}°; its far side is guessed")
    weights = dict(zip(ARKIT_NAMES, expression_of(sight), strict=True))
    if min(weights["eyeBlinkLeft"], weights["eyeBlinkRight"]) > _SHUT_EYE:
        said["eyes_shut"] = "the eyes are shut; their direction is unknown"
    distance = float(sight.camera.translation[2])
    if distance < _NEAR_MM:
        said["close_camera"] = f"the camera was only {distance / 10:.0f} cm away; what is near it looks large"
    if sight.misfit_mm > _LOOSE_MM:
        said["loose_fit"] = f"the head model does not follow this face well ({sight.misfit_mm:.1f} mm)"
    seen = _Look(FacePatch(view.photo.pixels, face.landmarks.astype(np.float64)))
    if seen.side_light > _SIDE_LIGHT:
        said["strong_light"] = "the light comes strongly from one side; the other side is less reliable"
    if seen.bridge > _GLASSES:
        said["glasses"] = "there seem to be glasses; their frame may show"
    if seen.beard:
        said["beard"] = "there seems to be a beard; the jaw under it is guessed"
    return tuple(Caution(code, f"{view.photo.name}: {message}") for code, message in said.items())


def _covered(quality: Quality) -> str:
    parts = [p.replace("_", " ") for p in COVERED if quality.measures.get(f"cover_{p}", 0.0) >= 1]
    if not parts:
        return _QUALITY["covered"]
    what = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"something seems to cover the {what}; what lies under it is guessed, and may show in the texture"


class _Look:
    """What a face's patch, 80 pixels between the eyes' outer corners, shows of light, glasses and beard."""

    def __init__(self, patch: FacePatch) -> None:
        self._patch, self._points, self._luminance = patch, patch.points, patch.luminance

    @property
    def side_light(self) -> float:
        """How many times brighter one cheek is than the other."""
        smooth = np.asarray(cv2.GaussianBlur(self._luminance, (0, 0), 2.0), np.float32)
        a, b = (float(self._patch.at(smooth, c).mean()) + 1e-3 for c in (_RIGHT_CHEEK, _LEFT_CHEEK))
        return max(a / b, b / a)

    @property
    def bridge(self) -> float:
        """Strongest step of the logarithmic luminance across the bridge of the nose, where glasses have their own."""
        x = np.sort(self._points[list(_BRIDGE_SIDES), 0].astype(int))
        y = np.sort(self._points[list(_BRIDGE_ENDS), 1].astype(int))
        smooth = np.log(cv2.GaussianBlur(self._luminance, (0, 0), 0.8) + 0.02)
        strip = smooth[max(y[0], 0) : y[1] + 1, max(x[0], 0) : x[1] + 1]
        if min(strip.shape) < 2:
            return 0.0
        return float(np.abs(np.diff(strip, axis=0)).mean(1).max())

    @property
    def beard(self) -> bool:
        """Whether the chin is much busier than the cheeks."""
        log = np.log(self._luminance + 0.01)
        fine = log - cv2.GaussianBlur(log, (0, 0), 2.5)
        busy = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 3.0))
        chin, cheeks = (float(np.median(self._patch.at(busy, where))) for where in (_CHIN, _CHEEKS))
        return chin > _BEARD and chin > _BEARD_TO_CHEEK * cheeks
