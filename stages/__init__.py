"""The pipeline's stages: params in, one call of the library, files out."""
