"""The model: configuration and classes that travel to the Hub with a checkpoint."""
