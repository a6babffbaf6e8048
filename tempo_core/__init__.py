"""The method: from a video to a trained and evaluated Video LLM. Knows no web page and no database."""
