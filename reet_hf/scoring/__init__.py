"""Training and use of the turn-aware scorer."""
