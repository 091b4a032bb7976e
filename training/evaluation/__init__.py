"""What training.evaluate measures, a room for each question."""
