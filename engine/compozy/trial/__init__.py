"""Run the examples of findings and rule packs against the resolution, and report what they leave out."""
