"""Pairs: made once per recipe, with every verdict; filtered, paged, counted and ranked in SQL."""

import pytest
from shelf import Shelf
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from db import bulk, difficulties, pair_filters, pairs, prompts, responses, samplings
from db.migrate import create_all
from db.pair_filters import PairFilter
from db.responses import CaptionRecipe, Recipe
from db.session import Database
from tempo_core.errors import BadThresholds, Unknown
from tempo_core.types import Answer, FilterVerdict, Sampling


def ids(found):
    return [line.id for line in found]


def test_a_pair_is_pending_if_every_rule_passed_and_filtered_if_one_failed(shelf):
    passed = FilterVerdict("length", True, 1.2, "ratio at most 1.5")
    failed = FilterVerdict("identical", False, 0.02, "word edit distance under 5 %")
    good, bad = shelf.pair(number=0, verdicts=(passed,)), shelf.pair(number=1, verdicts=(passed, failed))
    assert shelf.look(pairs.get, good).status == "pending"
    card = shelf.look(pairs.get, bad)
    assert card.status == "filtered"
    assert card.verdicts == (failed, passed)
    assert ids(shelf.look(pairs.page, PairFilter(rule="identical"))) == [bad]


def test_the_same_recipe_is_one_pair(shelf):
    assert shelf.pair(number=3) == shelf.pair(number=3)


def test_the_uid_is_made_of_contents_so_another_database_gives_the_same(shelf, tmp_path):
    uid = shelf.look(pairs.get, shelf.pair("a", 1)).uid
    other = Database.open(tmp_path / "other.db")
    create_all(other)
    elsewhere = Shelf(other, shelf.folder)
    elsewhere.pair("a", 5)  # so that ids differ from here on
    twin = elsewhere.pair("a", 1)
    assert twin == 2
    assert elsewhere.look(pairs.get, twin).uid == uid
    other.close()


def test_a_pair_shows_all_that_led_to_it(shelf):
    card = shelf.look(pairs.get, shelf.pair("a", 3, kind="reverse", magnitude=8))
    assert (card.kind, card.magnitude, card.plan.order) == ("reverse", 8, (3, 2, 1, 0))
    assert [clip.key_frames for clip in card.timeline] == [(3, 6), (13, 16), (23, 26), (33, 36)]
    assert (card.from_clean.model, card.from_clean.seed, card.from_clean.finish) == ("tiny", 3, "stop")
    assert card.from_clean.sampling["transformers"] == "5.23"
    assert card.input == "captions"
    assert card.from_clean.response_id != card.from_perturbed.response_id


def test_texts_that_are_not_the_responses_cannot_be_stored(shelf, database):
    shelf.pair()
    copy = (
        "INSERT INTO pair SELECT NULL, 'u', video_id, plan_id, chosen_id, rejected_id, prompt_id, kind, magnitude, "
        "difficulty, n_clips, prompt, 'something else', rejected, status, 1, NULL, 0, NULL, 0, NULL, NULL, NULL "
        "FROM pair"
    )
    with pytest.raises(IntegrityError), database.session() as session:
        session.execute(text(copy))


def test_pages_follow_each_other_without_gap_or_twin_in_both_orders(shelf):
    made = shelf.pairs(7)
    for order, expected in (("id", made), ("hardest", made[::-1])):
        seen, after = [], None
        while page := shelf.look(pairs.page, after=after, limit=3, order=order):
            seen += ids(page)
            after = pairs.key_of(page[-1])
        assert seen == expected


PLANS = (
    (lambda s: pairs.page(s, PairFilter(status="pending"), 5), "pair USING INTEGER PRIMARY KEY"),
    (pairs.counts, "USING COVERING INDEX ix_pair_columns"),
    (lambda s: pairs.page(s, PairFilter(search="red ball")), "pair_fts VIRTUAL TABLE"),
    (lambda s: pairs.page(s, PairFilter(search="red", kinds=("drop",)), order="hardest"), "pair_fts VIRTUAL TABLE"),
    (lambda s: pair_filters.count(s, PairFilter(levels=(2, 3))), "ix_pair_hist (kind=? AND difficulty>?"),
    (lambda s: pair_filters.count(s, PairFilter(rule="length")), "ix_filter_result_name_passed"),
    (lambda s: pair_filters.count(s, PairFilter(video_id=1)), "ix_pair_video_id"),
)


@pytest.mark.sqlite
@pytest.mark.parametrize(("ask", "step"), PLANS)
def test_lists_are_read_from_an_index_without_sorting(shelf, ask, step):
    shelf.pairs(2)
    asked = []
    listen = (shelf.database.reader, "before_cursor_execute", lambda *args: asked.append((args[2], args[3])))
    event.listen(*listen)
    told = []
    with shelf.database.reading() as session:
        # What the columns read goes past SQLAlchemy.
        session.connection().connection.driver_connection.set_trace_callback(lambda sql: told.append((sql, ())))
        ask(session)
        session.connection().connection.driver_connection.set_trace_callback(None)
    event.remove(*listen)
    queries = [(sql, values) for sql, values in (*asked, *told[1:]) if sql.startswith("SELECT")]
    with shelf.database.reading() as session:
        found = [(sql, session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all())
                 for sql, values in queries if "?" not in sql or values]  # fmt: skip
    steps = [each[3] for _sql, plan in found for each in plan]
    assert any(step in each for each in steps), steps
    assert not [each for each in steps if "TEMP B-TREE" in each]
    assert not [each for each in steps if each.startswith("SCAN pair ") and "COVERING" not in each]


def test_search_finds_all_words_in_any_order_and_an_unfinished_last_one(shelf):
    first = shelf.pair("a", 0, chosen="A yellow star appears, then a blue ring.")
    shelf.pair("a", 1, chosen="A yellow square appears.")
    assert ids(shelf.look(pairs.page, PairFilter(search="ring yellow"))) == [first]
    assert ids(shelf.look(pairs.page, PairFilter(search="yellow sta"))) == [first]
    assert ids(shelf.look(pairs.page, PairFilter(search="appear"))) != []
    assert ids(shelf.look(pairs.page, PairFilter(search="purple"))) == []


@pytest.mark.parametrize("words", ['"', "a AND", "NEAR(", "chosen:", "*", "-", "' OR 1=1 --", "\0", "^x", "{a}"])
def test_search_takes_no_text_as_an_operator(shelf, words):
    shelf.pair()
    assert isinstance(shelf.look(pairs.page, PairFilter(search=words)), list)


def test_every_field_of_a_filter_survives_a_url_and_is_applied(shelf):
    made = shelf.pairs(4)
    other = shelf.pair("b", 4, kind="drop", magnitude=16, difficulty=0.9)
    video_id = shelf.ids["b"]
    wanted = PairFilter(
        status="pending", kinds=("drop", "reverse"), magnitudes=(16,), levels=(1, 2), difficulty=(0.5, 1.0),
        search="red ball", video_id=video_id, model_id=1, axis="paper", thresholds=(0.1, 0.2, 0.3),
    )  # fmt: skip
    assert PairFilter.from_query(wanted.as_query()) == wanted
    assert PairFilter().as_query() == {}
    assert ids(shelf.look(pairs.page, wanted)) == [other]
    assert shelf.look(pairs.count, PairFilter(kinds=("shuffle",), difficulty=(0.1, 0.3))) == 2
    assert ids(shelf.look(pairs.page, PairFilter(video_id=shelf.ids["a"]))) == made


@pytest.mark.parametrize("query", [{"subject": "x"}, {"status": "gone"}, {"magnitudes": "two"}, {"difficulty": "1"}])
def test_an_unknown_filter_in_a_url_is_named(query):
    with pytest.raises(Unknown, match=next(iter(query))):
        PairFilter.from_query(query)


def test_counts_are_by_status_kind_and_magnitude(shelf, me):
    shelf.pairs(3)
    shelf.pair("b", 0, kind="drop", magnitude=2)
    shelf.do(bulk.decide, me, PairFilter(kinds=("drop",)), "accepted", token="b")
    found = shelf.look(pairs.counts)
    assert (found.total, found.status) == (4, {"accepted": 1, "pending": 3})
    assert (found.kind, found.magnitude) == ({"drop": 1, "shuffle": 3}, {"2": 1, "4": 3})


def test_percentiles_rank_inside_the_kind_and_leave_out_what_a_rule_refused(shelf):
    made = [shelf.pair("a", n, difficulty=d) for n, d in enumerate((0.1, 0.5, 0.5, 0.9, 0.95))]
    only = shelf.pair("b", 0, kind="drop", difficulty=0.3)
    shelf.pair("a", 5, difficulty=1.0, verdicts=(FilterVerdict("identical", False, 0.0, "rule"),))
    places = {place.id: place.percentile for place in shelf.look(difficulties.percentiles)}
    assert places == {made[0]: 0.0, made[1]: 0.25, made[2]: 0.25, made[3]: 0.75, made[4]: 1.0, only: 0.0}
    assert all(shelf.look(pairs.get, pair_id).percentile == places[pair_id] for pair_id in places)


def test_levels_are_cut_at_the_thresholds_or_by_magnitude(shelf):
    made = shelf.pairs(5)  # percentiles 0, .25, .5, .75, 1
    assert shelf.look(difficulties.per_level) == {"shuffle": (1, 1, 1, 2)}
    assert shelf.look(difficulties.per_level, (0.6, 0.7, 0.8)) == {"shuffle": (3, 0, 1, 1)}
    assert shelf.look(difficulties.per_level, axis="paper") == {"shuffle": (0, 0, 5, 0)}
    assert ids(shelf.look(pairs.page, PairFilter(levels=(4,)))) == made[3:]
    assert shelf.look(difficulties.raw_thresholds) == {"shuffle": (0.125, 0.25, 0.375)}


@pytest.mark.parametrize("thresholds", [(0.5, 0.4, 0.9), (-0.1, 0.5, 0.9), (0.1, 0.5, 1.2), (0.1, float("nan"), 0.9)])
def test_thresholds_that_cross_or_leave_the_range_are_refused(shelf, thresholds):
    with pytest.raises(BadThresholds, match="cross or leave"):
        shelf.look(difficulties.per_level, thresholds)


def test_the_histogram_counts_every_pair_once(shelf):
    for number, difficulty in enumerate((0.0, 0.24, 0.25, 0.99, 1.0)):
        shelf.pair("a", number, difficulty=difficulty)
    assert shelf.look(difficulties.histogram, 4) == {"shuffle": [2, 1, 0, 2]}


# ---- answers --------------------------------------------------------------------------------------------------------
def test_an_answer_is_kept_once_per_recipe_and_the_first_stays(shelf):
    shelf.pair()
    model, prompt, sampling = shelf.asked()
    recipe = Recipe(1, 1, None, model, prompt, sampling, seed=77)
    first = shelf.do(responses.record, recipe, Answer("one", 3, "stop", -1.5))
    assert shelf.do(responses.record, recipe, Answer("two", 3, "length")) == first
    assert shelf.look(responses.find, recipe) == (first, Answer("one", 3, "stop", -1.5))
    other = Recipe(1, 1, 1, model, prompt, sampling, seed=77)
    assert shelf.look(responses.known, [recipe, other]) == {recipe: (first, Answer("one", 3, "stop", -1.5))}


def test_two_answers_of_one_recipe_cannot_be_stored_even_where_parts_are_null(shelf, database):
    shelf.pair()
    columns = (
        "video_id, timeline_id, plan_id, model_id, prompt_id, sampling_id, seed, text, n_tokens, finish, created_ms"
    )
    with pytest.raises(IntegrityError), database.session() as session:
        session.execute(text(f"INSERT INTO response ({columns}) SELECT {columns} FROM response WHERE plan_id IS NULL"))


def test_captions_of_a_resumed_job_are_added_to_those_known(shelf):
    shelf.pair()
    model, prompt, sampling = shelf.asked()
    recipe = CaptionRecipe(1, model, prompt, sampling, seed=5)
    shelf.do(responses.record_captions, recipe, {0: Answer("a ball", 2, "stop"), 1: Answer("a cube", 2, "stop")})
    new = {1: Answer("changed", 1, "stop"), 2: Answer("a ring", 2, "length")}
    assert shelf.do(responses.record_captions, recipe, new) == 1
    assert [shelf.look(responses.captions_known, recipe)[i].text for i in range(3)] == ["a ball", "a cube", "a ring"]


def test_prompts_and_samplings_are_kept_once_per_content(shelf):
    assert shelf.do(prompts.id_of, "What?", "describe") == shelf.do(prompts.id_of, "What?", "describe")
    assert shelf.do(prompts.id_of, "What?", "describe") != shelf.do(prompts.id_of, "What?", "caption_first")
    plain = shelf.do(samplings.id_of, Sampling())
    assert plain != shelf.do(samplings.id_of, Sampling(temperature=0.0))
    assert plain != shelf.do(samplings.id_of, Sampling(), {"torch": "2.15"})
    assert plain == shelf.do(samplings.id_of, Sampling())
