"""Images whose truth is known, because we wrote it ourselves."""
