"""Training pictures: photo-like renders of heads whose shape is known, and what the landmark networks see in them."""
