"""Small tools that keep the repository's pages in step with its checkpoints."""
