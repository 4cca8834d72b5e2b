"""How well a face can be reconstructed, and why not better."""

from maquette.types import Face, Photo, Quality, Verdict


def judge(photo, landmarks, pose, size):
    yaw = abs(pose.yaw)
    if yaw > 50:
        return Quality(Verdict.UNUSABLE, ("turned_away",), {"yaw": pose.yaw})
    if size < 80:
        return Quality(Verdict.POOR, ("too_small",), {"size": size})
    return Quality(Verdict.GOOD)
