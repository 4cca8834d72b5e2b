"""What walks between the rooms, and the frames and units that all of it is in.

Frames:
    *Head frame*: right-handed, millimetres; x to the subject's left, y up, z out of the face. The origin lies between
    the ears of the head model's mean head, at the height of the nose.
    *Camera frame* (OpenCV): millimetres; x right, y down, z away from the camera. ``x_cam = R @ x_head + t``.
    *Pixels*: origin at the outer corner of the top left pixel, x right, y down; the centre of pixel (i, j) is at
    (j + 0.5, i + 0.5).
"""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Photo:
    """A picture normalised at the door: orientation applied, metadata dropped, sRGB.

    Attributes:
        pixels: (H, W, 3) uint8, sRGB.
        focal_px: Focal length in pixels of this picture, from EXIF; None when it says nothing usable.
        name: File name, for messages only.
        sha256: Hex digest of the file's bytes.
    """

    pixels: UInt8
    focal_px: float | None
    name: str
    sha256: str

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])


class Verdict(StrEnum):
    """How well a face can be reconstructed."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"
    UNUSABLE = "unusable"


@dataclass(frozen=True)
class Quality:
    """Quality verdict of a face.

    Attributes:
        verdict: The worst of the reasons' severities.
        reasons: Stable names, e.g. ``too_small``, ``turned_away``, ``blurred``, ``under_exposed``, ``over_exposed``,
            ``mouth_open``, ``covered``, ``cut_off``.
        measures: The figures behind the reasons, by name.
    """

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Face:
    """One face in a photo.

    Attributes:
        box: (4,) float32: left, top, right, bottom in pixels.
        landmarks: (478, 3) float32 in pixels of the photo (MediaPipe face mesh order, irises last); z on the same
            scale, smaller is nearer. Lips, eyes and brows come from the attention network.
        plain_landmarks: (478, 3) float32, the same points from the plain face mesh alone (the fit's prior uses both).
        canonical: (478, 3) float32, the landmarks turned upright and scaled to millimetres by the mean face, along
            the axes of the head frame; the origin is the middle of their box.
        yaw: Degrees; positive when the subject's face turns to the subject's left.
        pitch: Degrees; positive when the face looks up.
        roll: Degrees, clockwise as seen in the picture.
        score: Probability of a face, from the mesh network, 0 to 1.
        size: Largest side of the box around the landmarks, pixels.
        quality: Verdict with reasons.
    """

    box: Float32
    landmarks: Float32
    plain_landmarks: Float32
    canonical: Float32
    yaw: float
    pitch: float
    roll: float
    score: float
    size: float
    quality: Quality


@dataclass(frozen=True)
class Mask:
    """Person mask around one face.

    Attributes:
        alpha: (N, N) float32, 1 on the person.
        to_crop: (2, 3) float64, affine from photo pixels to mask pixels.
    """

    alpha: Float32
    to_crop: Float64


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        focal: Focal length in pixels.
        centre: (2,) float64, principal point in pixels.
        rotation: (3, 3) float64, head frame to camera frame.
        translation: (3,) float64 mm.
        width: Picture width in pixels.
        height: Picture height in pixels.
    """

    focal: float
    centre: Float64
    rotation: Float64
    translation: Float64
    width: int
    height: int

    def to_camera(self, points: Float64) -> Float64:
        """Turn (N, 3) mm in the head frame into the camera frame."""
        return points @ self.rotation.T + self.translation

    def project(self, points: Float64) -> Float64:
        """Project (N, 3) mm in the head frame to (N, 2) pixels."""
        x = self.to_camera(points)
        return self.focal * x[:, :2] / x[:, 2:] + self.centre


@dataclass(frozen=True)
class Caution:
    """Something about a result that its user should know.

    Attributes:
        code: Stable snake_case name.
        message: One sentence.
    """

    code: str
    message: str


@dataclass(frozen=True)
class View:
    """What the fit found out about one photo.

    Attributes:
        camera: The photo's camera.
        expression: (52,) float32 ARKit weights, 0 to 1.
        gaze: (2, 2) float32 degrees: per eye (left, right) yaw and pitch of the eyeball in the head frame.
        residual_px: (478, 2) float32, landmarks minus the projection of the fitted model's.
    """

    camera: Camera
    expression: Float32
    gaze: Float32
    residual_px: Float32


@dataclass(frozen=True)
class Fit:
    """Shape of a head, before texture.

    Attributes:
        identity: (K,) float32, standard deviations.
        views: One per photo; the first is the main photo.
        uncertainty: (V,) float32 mm, one standard deviation per axis of the neutral vertices, the head laid on the true
            one by a similarity of the face.
        determined: (V,) float32, 0 (the prior filled it in) to 1 (the evidence determined it).
        warnings: What the user should know.
    """

    identity: Float32
    views: tuple[View, ...]
    uncertainty: Float32
    determined: Float32
    warnings: tuple[Caution, ...] = ()


@dataclass(frozen=True)
class Textures:
    """Maps in the head model's UV atlas; row 0 is v = 1 (image top).

    Attributes:
        photo: (N, N, 3) uint8 sRGB with the photo's light in it.
        albedo: (N, N, 3) uint8 sRGB with the estimated light removed.
        weight: (N, N) float32, how much of a texel was seen.
        displacement: (M, M) float32 mm along the normal, or None.
        normal: (M, M, 3) uint8 tangent-space normal map (OpenGL, y up), or None.
        lighting: (9, 3) float64 order-2 spherical harmonics of the main photo, head frame, linear light.
    """

    photo: UInt8
    albedo: UInt8
    weight: Float32
    displacement: Float32 | None
    normal: UInt8 | None
    lighting: Float64


@dataclass(frozen=True)
class Hair:
    """A hair mesh that sits on a head.

    Attributes:
        name: Style name in the hair library.
        vertices: (H, 3) float32 mm, head frame, on the posed head.
        triangles: (T, 3) int32.
        uv: (H, 2) float32.
        colour: (P, Q, 4) uint8 RGBA, straight alpha.
    """

    name: str
    vertices: Float32
    triangles: Int32
    uv: Float32
    colour: UInt8


@dataclass(frozen=True)
class Head:
    """A reconstructed head: all that the mesh room needs.

    Attributes:
        engine: Engine name and version, e.g. ``open 0.1.0``.
        model: Head model name and version.
        licence: Terms the result comes under.
        fit: Shape, cameras, expressions, uncertainty.
        neutral: (V, 3) float32 mm, expression removed.
        posed: (V, 3) float32 mm, with the main photo's expression and gaze.
        textures: UV maps, or None when only the shape was asked for.
        hair: Hair mesh and its brows and lashes, or empty.
    """

    engine: str
    model: str
    licence: str
    fit: Fit
    neutral: Float32
    posed: Float32
    textures: Textures | None
    hair: tuple[Hair, ...] = ()
