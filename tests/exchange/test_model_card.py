"""The model card: every number of the run, what got worse, and nothing that a hostile name can add."""

import re
from dataclasses import asdict, replace

import pytest

from tempo_core.exchange.model_card import FORMS, Change, Curve, Figure, LinkLine, RunFacts, Source, card
from tempo_core.exchange.quoting import markdown_text, yaml_text
from tempo_core.recipes import PRESETS

yaml = pytest.importorskip("yaml")

EVIL = 'x"\n---\nlicense: mit\n# <script>alert(1)</script> ![p](http://e/p) [a](x) | `rm` **b** 😀 \u2028 é \x7f'
BASE, DATA, PLAN, LINK = "b" * 64, "d" * 64, "e" * 64, "f" * 64
CONFIG = asdict(replace(PRESETS["paper"], dpo_lr=5e-06, sft_steps=None))


def facts(**changes):
    values = RunFacts(
        run_id=7, name="order", recipe="dpo_sft", phases=("dpo", "sft"), state="succeeded",
        base=Source("Qwen2.5-VL-7B-Instruct", BASE), family="qwen-vl",
        dataset=Source("demo", DATA, 120, 3, 20), sft_set=Source("talks", "a" * 64, 60, 2), plan_sha256=PLAN,
        config=CONFIG, code_version="abc-dirty", libraries={"torch": "2.15.0"},
        links=(LinkLine("01-dpo-l1", "dpo", "l1", 50, LINK),),
        curves=(
            Curve("l1", "loss", 0.6931, 0.31, 40), Curve("l1", "accuracy", 0.5, 0.95, 40),
            Curve("l4", "loss", 0.69, 0.65, 12), Curve("sft", "loss", 2.0, 1.0, 9),
        ),
        changes=(
            Change("drawn_world", "order", 40, Figure(0.5, 0.4, 0.6), Figure(0.9, 0.8, 0.95), Figure(0.4, 0.3, 0.5),
                   "better"),
            Change("drawn_world", "recall", 40, Figure(0.98, 0.9, 1.0), Figure(0.8, 0.7, 0.9),
                   Figure(-0.18, -0.3, -0.1), "worse"),
            Change("drawn_world", "earlier", 40, Figure(0.6, 0.5, 0.7), Figure(0.58, 0.5, 0.7),
                   Figure(-0.02, -0.1, 0.06), "cannot tell"),
            Change("held_out_preference", "accuracy", 30, None, Figure(0.7, 0.6, 0.8)),
        ),
    )  # fmt: skip
    return replace(values, **changes)


def parts(text):
    _, header, body = text.split("---\n", 2)
    return yaml.safe_load(header), body


@pytest.mark.parametrize("form", FORMS)
def test_the_header_holds_what_makes_the_run_known_again_with_every_number_of_its_config(form):
    header, _ = parts(card(facts(), form))
    assert header["base_model"] == "Qwen2.5-VL-7B-Instruct"
    assert (header["library_name"], header["base_model_relation"]) == {
        "adapter": ("peft", "adapter"), "merged": ("transformers", "finetune")
    }[form]  # fmt: skip
    own = header["tempo_studio"]
    assert own["config"] == CONFIG and isinstance(own["config"]["dpo_lr"], float)
    assert own["dataset"] == {"name": "demo", "version": 3, "content_sha256": DATA, "n": 120}
    assert (own["recipe"], own["training_plan_sha256"], own["base_model_sha256"]) == ("dpo_sft", PLAN, BASE)
    assert own["chain"] == [LINK] and own["sft_set"]["version"] == 2
    assert "direct preference optimisation" in own["method"] and "supervised fine-tuning" in own["method"]


def test_the_body_tells_curves_by_level_and_figures_with_their_intervals():
    body = re.sub("&#95;", "_", parts(card(facts(), "merged"))[1])
    for line in (
        "| dataset version | demo 3 | 100 pairs | " + DATA + " |",
        "| level | steps | loss | accuracy |",
        "| l1 | 40 | 0.693 to 0.310 | 0.500 to 0.950 |",
        "| l4 | 12 | 0.690 to 0.650 |  |",
        "| beta | 0.1 |",
        "| dpo_lr | 5e-06 |",
        "| sft_steps | none |",
    ):
        assert line in body, line
    row = next(line for line in body.splitlines() if line.startswith("| drawn_world | recall"))
    cells = [re.sub(r"&#(\d+);", lambda m: chr(int(m[1])), cell).strip() for cell in row.strip("|").split("|")]
    assert cells[2:] == ["40", "0.980 [0.900, 1.000]", "0.800 [0.700, 0.900]", "-0.180 [-0.300, -0.100]", "worse"]


def test_what_got_worse_is_said_apart_from_what_only_looks_lower():
    _, body = parts(card(facts(), "merged"))
    said = body.split("### What got worse")[1].split("##")[0].replace("&#95;", "_")
    assert "Worse beyond chance: drawn_world/recall." in said
    assert "Lower, but not beyond chance: drawn_world/earlier." in said
    assert "not asked the same questions: held_out_preference/accuracy." in said
    assert "order" not in said


def test_a_model_that_nobody_measured_does_not_look_as_if_nothing_got_worse():
    _, body = parts(card(facts(changes=(), curves=()), "merged"))
    assert "was not measured" in body and "Unknown: nothing was measured." in body


def test_a_run_that_was_stopped_says_so():
    assert "**cancelled**, not finished" in card(facts(state="cancelled"), "adapter")


@pytest.mark.parametrize("form", FORMS)
def test_hostile_names_add_nothing_to_the_card(form):
    evil = Source(EVIL, DATA, 1, 1)
    change = Change(EVIL, EVIL, 1, None, Figure(0.5, 0.4, 0.6))
    text = card(
        facts(
            name=EVIL, base=Source(EVIL, EVIL), dataset=evil, sft_set=evil, code_version=EVIL, state=EVIL,
            libraries={EVIL: EVIL}, links=(LinkLine(EVIL, EVIL, EVIL, 1, EVIL),), changes=(change,),
            curves=(Curve(EVIL, EVIL, 0.0, 1.0, 1),), config={"recipe": EVIL},
        ),
        form,
    )  # fmt: skip
    header, body = parts(text)
    assert header["license"] == "other" and header["base_model"] == EVIL
    assert header["tempo_studio"]["config"]["recipe"] == EVIL
    for sign in ("<script", "](", "**b**", "`rm`", "\u2028", "\x7f"):
        assert sign not in body, sign
    assert [line for line in body.splitlines() if line.startswith("# ")] == [f"# {markdown_text(EVIL)} (run 7)"]
    heads = [line for line in body.splitlines() if line.startswith("#")]
    assert heads == [
        re.sub("order", markdown_text(EVIL), line, count=1) if line.startswith("# ") else line
        for line in parts(card(facts(), form))[1].splitlines()
        if line.startswith("#")
    ]


@pytest.mark.parametrize("text", [EVIL, "", "null", "é 红 😀", "\ud800 half", "\x00\x85\ufeff\t", "a: b # c", "- x"])
def test_quoted_yaml_gives_the_text_back(text):
    assert yaml.safe_load(f"key: {yaml_text(text)}\n") == {"key": text}


def test_the_card_repeats_what_samples_showed_of_the_pairs():
    assert "unread" not in card(facts(), "merged")
    data = replace(facts().dataset, stated=("drop, level 1, tiny: at most 4.3 % bad",))
    assert "accepted unread" in card(facts(dataset=data), "merged")


def test_the_card_names_the_benchmarks_whose_videos_are_not_of_the_collection():
    public = Change("tempcompass", "yes_no", 30, None, Figure(0.7, 0.6, 0.8), split="test")
    said = card(facts(changes=(*facts().changes, public)), "merged").replace("&#95;", "_")
    own = "Videos of the benchmark itself: tempcompass."
    assert said.count(f"same collection: drawn_world, held_out_preference. {own}") == 2
    assert "Held-out videos" not in card(facts(changes=(public,)), "merged")
