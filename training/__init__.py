"""Scripts that made what ships in the model files; each takes the folders of its sources as arguments."""
