"""Drawing tokens: the shares are those asked for, and the settings mean what transformers means by them."""

from __future__ import annotations

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopPLogitsWarper

from tempo_core.types import Sampling
from tempo_core.video_llms.drawing import Draw

LOGITS = torch.tensor([2.0, 1.0, 0.5, -1.0, -3.0, 1.5])


@pytest.mark.parametrize(("temperature", "top_p", "penalty"), [(1, 1, 1), (0.7, 1, 1.05), (1.5, 0.8, 1.3), (1, 0.3, 1)])
def test_tokens_come_as_often_as_transformers_says(temperature, top_p, penalty):
    n = 40_000
    sampling = Sampling(temperature=temperature, top_p=top_p, repetition_penalty=penalty, max_new_tokens=1)
    prompt = torch.tensor([[5, 3]])
    draw = Draw(sampling, range(n), padding=torch.zeros(n, 2, dtype=torch.bool))
    forced = draw(prompt.expand(n, -1), LOGITS.expand(n, -1))
    shares = forced.argmax(dim=1).bincount(minlength=6) / n
    expected = RepetitionPenaltyLogitsProcessor(float(penalty))(prompt, LOGITS[None].clone())
    expected = TemperatureLogitsWarper(float(temperature))(prompt, expected)
    expected = TopPLogitsWarper(float(top_p))(prompt, expected).softmax(dim=-1)[0]
    assert torch.allclose(shares, expected, atol=0.012), (shares, expected)
    assert not (shares[expected == 0] > 0).any()


def test_padding_is_not_something_said_before():
    sampling = Sampling(temperature=0.0, repetition_penalty=100.0, max_new_tokens=1)
    padding = torch.tensor([[True, True, False], [False, False, False]])
    ids = torch.tensor([[0, 0, 3], [0, 0, 3]])
    token = Draw(sampling, [1, 2], padding)(ids, LOGITS.expand(2, -1)).argmax(dim=1)
    assert token.tolist() == [0, 5], "0 is likeliest, and only the second row has said it"


def test_the_log_probability_kept_is_that_of_the_plain_model():
    draw = Draw(Sampling(temperature=0.1, repetition_penalty=2.0, max_new_tokens=1), [3], torch.zeros(1, 1).bool())
    token = int(draw(torch.tensor([[4]]), LOGITS[None]).argmax())
    assert float(draw.log_probs[0]) == pytest.approx(float(LOGITS.log_softmax(0)[token]))


def test_control_tokens_are_never_drawn():
    sampling = Sampling(temperature=5.0, max_new_tokens=1)
    draw = Draw(sampling, range(2000), torch.zeros(2000, 1).bool(), never=[0, 3])
    tokens = draw(torch.tensor([[4]]).expand(2000, -1), LOGITS.expand(2000, -1)).argmax(dim=1)
    assert set(tokens.tolist()) == {1, 2, 4, 5}
