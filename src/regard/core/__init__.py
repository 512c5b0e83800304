"""The nouns: volume, target, explainer, explanation; and the two things under them, batching and recording."""
