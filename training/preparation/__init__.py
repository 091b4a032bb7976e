"""What training.prepare does to meshes from anywhere before they are training data, a step a file."""
