"""The drawn videos, once per session."""

from tests.videos import cards, edit_listed, late_stream, one_scene, variable_rate, video_folder

__all__ = ["cards", "edit_listed", "late_stream", "one_scene", "variable_rate", "video_folder"]
