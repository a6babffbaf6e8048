"""The small checkpoints, built once for all tests of this room."""

from tests.checkpoints import folder_of, qwen_folder, tiny_folder  # noqa: F401
