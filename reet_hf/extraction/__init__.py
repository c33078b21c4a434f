"""Training and use of the entity–fact extractor."""
