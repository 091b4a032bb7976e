"""Training, headless: data, procedural meshes, the two training loops, metrics. Imports core, never the other way."""
