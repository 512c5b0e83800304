"""The XAI-TRIS benchmark: its scenarios, its networks and its measures, beside ours."""
