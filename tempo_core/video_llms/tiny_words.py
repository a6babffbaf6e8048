"""What the embedded models share: their words as token ids, the tokenizer, the chat template, the size of a picture."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tempo_core.worlds.vocabulary import PATTERN, SPECIAL, WORDS

PICTURE_PX = 48
PIXEL_MEAN, PIXEL_STD = 0.35, 0.28
VOCABULARY_SIZE = len(WORDS) + (-len(WORDS)) % 8
MAX_TOKENS = 1024
PAD, END, USER, ASSISTANT, VISION_START, VISION_END, VIDEO, IMAGE, UNKNOWN = range(len(SPECIAL))

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'video' or 'video' in c %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<|unk|>"))
    # The last branch keeps what no word covers, so that it becomes <|unk|> and is not silently dropped.
    words.pre_tokenizer = pre_tokenizers.Split(Regex(PATTERN + r"|\S"), behavior="removed", invert=True)
    words.decoder = decoders.WordPiece(prefix="##", cleanup=True)  # joins with spaces, none before "." and ","
    made = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        unk_token="<|unk|>",
        additional_special_tokens=list(SPECIAL[2:8]),
        model_max_length=MAX_TOKENS,
        padding_side="left",
    )
    made.image_token, made.video_token = "<|image_pad|>", "<|video_pad|>"
    return made
