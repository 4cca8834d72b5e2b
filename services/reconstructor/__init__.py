"""Photos and faces to a head."""
