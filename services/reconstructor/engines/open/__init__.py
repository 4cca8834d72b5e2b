"""The openly licensed engine: landmarks to shape, photo to texture and detail."""
