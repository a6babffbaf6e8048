"""What recipes and orders of levels are called on the pages. The codes are those of `tempo_core.recipes`."""

from __future__ import annotations

from collections.abc import Mapping

RECIPES: Mapping[str, str] = {
    "dpo_sft": "DPO, then SFT",
    "sft_dpo": "SFT, then DPO",
    "dpo": "DPO alone",
    "sft": "SFT alone",
    "chosen_only": "chosen responses alone (control)",
    "chosen_only_sft": "chosen responses alone, then SFT (control)",
    "sft_chosen_only": "SFT, then chosen responses alone (control)",
}

PACINGS: Mapping[str, str] = {
    "strict": "easy to hard, a stage per level (the paper's)",
    "replay": "easy to hard, repeating some easier pairs",
    "linear": "easy to hard, levels fade into each other",
    "competence": "easy to hard, the hardest that may come rises",
    "mixed": "all levels mixed (control)",
    "hard_to_easy": "hard to easy, a stage per level (control)",
}

PAIR_FORMS: Mapping[str, str] = {
    "ms_swift": "ms-swift",
    "ms_swift_rejected_video": "ms-swift, rejected video",
    "llama_factory": "LLaMA-Factory",
    "trl": "TRL",
    "rrpo": "RRPO",
    "hound": "LLaVA-Hound, VistaDPO, 2U1",
    "hub": "Hugging Face rows",
}
"""Forms of files that are imported."""


def pair_form(code: str) -> str:
    return PAIR_FORMS.get(code, code)


def recipe(code: str) -> str:
    return RECIPES.get(code, code)


def pacing(code: str) -> str:
    return PACINGS.get(code, code)
