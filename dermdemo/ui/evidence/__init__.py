"""The Models tab's content: `gather` reads it once, the other modules draw one section each as HTML."""
