"""The three rooms: detector, reconstructor, meshproc."""
