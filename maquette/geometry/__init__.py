"""Mathematics that several rooms share: transforms, surfaces, ray casting."""
