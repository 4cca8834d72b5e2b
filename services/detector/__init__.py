"""The detector room: photo to faces."""
