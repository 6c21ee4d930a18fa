"""The image autoencoder experiments: one practice of the lecture per file."""
