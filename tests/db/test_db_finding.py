"""Finding pairs in memory and in SQL is the same; levels by cuts are levels by rank; bulk decisions come in chunks."""

import shutil
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from benchmarks import many_pairs
from db import (
    bulk,
    level_cuts,
    pair_columns,
    pair_filters,
    pair_lists,
    pair_masks,
    pair_points,
    pairs,
    people,
    saved_views,
    withdrawals,
)
from db.migrate import create_all
from db.pair_filters import PairFilter
from db.reviews import ReviewItem, decide
from db.session import Database
from tempo_core.errors import NotAllowed, TempoError
from tempo_core.settings import Home


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("many") / "home")
    many_pairs.build(home, 500, 20).close()
    return home.database


@pytest.fixture
def many(built, tmp_path):
    shutil.copy(built, tmp_path / "many.db")
    database = Database.open(tmp_path / "many.db")
    yield database
    database.close()


def in_sql(session, wanted):
    query = pair_filters.select(pair_filters.PairRow.id).where(*pair_filters.where(wanted, session))
    return sorted(session.execute(query).scalars())


def in_memory(session, wanted):
    columns = pair_columns.columns(session)
    return columns.ids[pair_masks.chosen(session, columns, wanted)].tolist()


FILTERS = st.builds(
    PairFilter,
    status=st.sampled_from((None, "pending", "accepted", "filtered")),
    kinds=st.sampled_from(((), ("drop",), ("reverse", "unknown"))),
    magnitudes=st.sampled_from(((), (2, 16))),
    levels=st.sampled_from(((), (1,), (2, 4), (1, 2, 3, 4))),
    axis=st.sampled_from(("measured", "measured", "paper")),
    thresholds=st.sampled_from(((0.25, 0.5, 0.75), (0.0, 0.5, 0.5), (0.3, 1.0, 1.0))),
    difficulty=st.sampled_from((None, None, (0.2, 0.7))),
    length_ratio=st.sampled_from((None, None, (1.0, 1.2))),
    search=st.sampled_from(("", "", "kettle", "red kett", "the zzz")),
    rule=st.sampled_from((None, None, "refusal", "unknown")),
    model_id=st.sampled_from((None, 1, 99)),
    input=st.sampled_from((None, "video", "imported")),
    edited=st.sampled_from((None, None, True, False)),
    by=st.sampled_from((None, None, "bulk", "person")),
    withdrawn=st.sampled_from((None, None, "only", "too")),
)


def test_a_filter_means_the_same_in_memory_and_in_sql_also_after_decisions(many):
    with many.session() as session:
        me = people.local(session)
        withdrawals.withdraw(session, me, 3, "no licence", cause="licence")

    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(FILTERS)
    def same(wanted):
        with many.reading() as session:
            assert in_memory(session, wanted) == in_sql(session, wanted)
            assert pair_lists.count(session, wanted) == len(in_sql(session, wanted))

    same()
    bulk.decide_all(many, me, PairFilter(kinds=("drop",)), "accepted", token="b", redecide=True)
    same()
    bulk.undo_all(many, me, "b")
    same()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from((None, 0.0, 0.1, 0.2, 0.3, 0.7, 1.0))), max_size=30),
    st.lists(st.sampled_from((0.0, 0.1, 1 / 3, 0.25, 0.5, 0.7, 0.75, 1.0)), min_size=3, max_size=3),
)
def test_levels_by_cuts_are_levels_by_rank_with_ties_small_kinds_and_equal_cuts(drawn, cuts):
    cuts = tuple(sorted(cuts))
    for kind in {kind for kind, _ in drawn}:
        values = np.sort([value for k, value in drawn if k == kind and value is not None])
        for value in values:
            easier = int((values < value).sum())
            percentile = easier / (len(values) - 1) if len(values) > 1 else 0.0
            by_rank = 1 + sum(percentile >= cut for cut in cuts)
            by_count = 1 + sum(easier >= level_cuts.n_below(cut, len(values)) for cut in cuts)
            tops = tuple(
                values[m - 1] if (m := level_cuts.n_below(cut, len(values))) else None for cut in cuts
            )  # fmt: skip
            assert by_rank == by_count == level_cuts.Cuts({kind: tops}).level(kind, value)


@pytest.mark.parametrize("cuts", [(0.25, 0.5, 0.75), (0.0, 0.0, 1.0), (0.3, 0.3, 0.3), (0.1, 0.333, 0.9)])
def test_levels_in_sql_by_ranges_are_those_of_the_window_function(many, cuts):
    with many.reading() as session:
        ranked = dict(session.execute(level_cuts.windowed(cuts)).all())
        for level in (1, 2, 3, 4):
            expected = sorted(i for i, of in ranked.items() if of == level)
            assert in_sql(session, PairFilter(levels=(level,), thresholds=cuts, withdrawn="too")) == expected
        columns = pair_columns.columns(session)
        assert {
            i: lv for i, lv in zip(columns.ids.tolist(), columns.levels(cuts).tolist(), strict=True) if lv
        } == ranked


def test_what_a_snapshot_shares_never_comes_from_a_transaction_that_was_rolled_back(many):
    with many.reading() as session:
        before, me = pairs.counts(session).status, people.local(session)
    with pytest.raises(ZeroDivisionError), many.session() as session:
        bulk.decide(session, me, PairFilter(), "accepted", token="x")
        assert pairs.counts(session).status.get("pending", 0) == 0
        raise ZeroDivisionError
    with many.reading() as session:
        assert pairs.counts(session).status == before


def test_new_pairs_and_deleted_ones_are_seen(shelf):
    made = shelf.pairs(3)
    assert [line.id for line in shelf.look(pairs.page)] == made
    made.append(shelf.pair("b", 1, kind="drop"))
    assert [line.id for line in shelf.look(pairs.page)] == made
    with shelf.database.session() as session:
        session.execute(text("DELETE FROM filter_result WHERE pair_id = 2"))
        session.execute(text("DELETE FROM pair WHERE id = 2"))
    page = shelf.look(pairs.listed, after=(0.0, 2), limit=2)
    assert [line.id for line in page.lines] == made[2:] and page.first == 2 and page.has_before


def test_pages_go_back_as_they_went_on(many):
    for wanted in (PairFilter(), PairFilter(kinds=("drop",)), PairFilter(search="kettle")):
        for order in ("id", "hardest"):
            with many.reading() as session:
                seen, after = [], None
                while (page := pairs.listed(session, wanted, after=after, limit=40, order=order)).lines:
                    seen.append(page)
                    after = pairs.key_of(page.lines[-1])
                for earlier, later in pairwise(seen):
                    back = pairs.listed(session, wanted, before=pairs.key_of(later.lines[0]), limit=40, order=order)
                    assert [line.id for line in back.lines] == [line.id for line in earlier.lines]
                assert sum(len(page.lines) for page in seen) == pairs.count(session, wanted)


def test_a_facet_counts_what_its_value_would_leave(many):
    wanted = PairFilter(kinds=("drop",), levels=(1, 2))
    with many.reading() as session:
        found = pairs.facets(session, wanted)
        assert found.total == pairs.count(session, wanted)
        assert found.kinds["reverse"] == pairs.count(session, PairFilter(kinds=("reverse",), levels=(1, 2)))
        assert found.levels[4] == pairs.count(session, PairFilter(kinds=("drop",), levels=(4,)))
        assert found.edited == pairs.count(session, PairFilter(kinds=("drop",), levels=(1, 2), edited=True))


def test_a_search_with_very_many_hits_is_counted_up_to_a_bound_and_says_so(many, monkeypatch):
    monkeypatch.setattr(pair_masks, "MOST_HITS", 20)
    with many.reading() as session:
        found = pairs.facets(session, PairFilter(search="the"))
        assert found.capped and found.total == 20
        assert pairs.count(session, PairFilter(search="the")) > 20


def test_a_bulk_decision_in_chunks_leaves_what_others_took_and_is_undone_as_one(many, monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK", 50)
    with many.session() as session:
        me, ada = people.local(session), people.add(session, "test|ada", "Ada", "reviewer")
        free = pairs.page(session, PairFilter(status="pending"), limit=2)
        session.execute(text(f"UPDATE pair SET claimed_by = {ada.id}, claim_until_ms = 9e12 WHERE id = {free[0].id}"))
    with many.reading() as session:
        before = pairs.counts(session).status
        told = bulk.preview(session, me, PairFilter(), "accepted")
    assert (told.n, told.held, told.same) == (before["pending"] - 1, 1, before["accepted"])
    assert told.refused == before["filtered"] and told.decided == before["rejected"] + before["flagged"]
    assert bulk.decide_all(many, me, PairFilter(), "accepted", note="why", token="b").n == told.n
    with many.session() as session:
        decide(session, me, ReviewItem("later", free[1].id, 2, "reject"))
    with many.reading() as session:
        (line,) = bulk.recent(session, me)
    assert (line.verdict, line.n, line.n_undone, line.note, line.mine) == ("accepted", told.n, 0, "why", True)
    with pytest.raises(NotAllowed, match="somebody else"):
        bulk.undo_all(many, ada, "b")
    assert bulk.undo_all(many, me, "b").n == told.n - 1
    with many.reading() as session:
        left = "SELECT count(*) FROM pair WHERE version - 1 <> (SELECT count(*) FROM review WHERE pair_id = pair.id)"
        assert session.execute(text(left)).scalar_one() == 0
        assert bulk.recent(session, me)[0].n_undone == told.n - 1


def test_decided_pairs_can_be_brought_back_to_pending_and_that_undone(many):
    with many.reading() as session:
        me, before = people.local(session), pairs.counts(session).status
    done = bulk.decide_all(many, me, PairFilter(status="rejected"), "pending", token="p")
    assert done.n == before["rejected"]
    bulk.undo_all(many, me, "p")
    with many.reading() as session:
        assert pairs.counts(session).status == before


def test_points_are_a_seeded_sample_and_a_shape_finds_all_pairs_inside(many, monkeypatch):
    monkeypatch.setattr(pair_points, "MOST_POINTS", 100)
    with many.reading() as session:
        first, again = (pair_points.points(session, PairFilter()) for _ in range(2))
        assert len(first.ids) == 100 and first.n_all == 500 and (first.ids == again.ids).all()
        box = [(0.2, 1.0), (0.6, 1.0), (0.6, 1.3), (0.2, 1.3)]
        inside = pair_points.inside(session, PairFilter(), box)
        assert inside == in_memory(session, PairFilter(difficulty=(0.2, 0.5999), length_ratio=(1.0, 1.2999999)))


def test_a_view_is_everybodys_to_open_and_its_makers_to_change(shelf, ada, bob):
    view = shelf.do(saved_views.save, ada, "pairs", " hard  ones ", {"levels": "4"})
    (seen,) = shelf.look(saved_views.listing, "pairs", bob)
    assert (seen.name, seen.query, seen.by, seen.mine) == ("hard ones", {"levels": "4"}, "Ada", False)
    with pytest.raises(TempoError, match="already"):
        shelf.do(saved_views.save, bob, "pairs", "hard ones", {})
    with pytest.raises(NotAllowed, match="somebody else's"):
        shelf.do(saved_views.delete, bob, view)
    with pytest.raises(TempoError, match="1 to 60"):
        shelf.do(saved_views.rename, ada, view, " ")
    shelf.do(saved_views.rename, ada, view, "harder")
    shelf.do(saved_views.delete, ada, view)
    assert shelf.look(saved_views.listing, "pairs", ada) == []


def test_columns_of_an_empty_database_are_empty(tmp_path):
    database = Database.open(tmp_path / "none.db")
    create_all(database)
    with database.reading() as session:
        assert pairs.listed(session, PairFilter(levels=(1,), kinds=("drop",))).lines == ()
        assert pairs.facets(session).total == 0 and pair_points.points(session, PairFilter()).n_all == 0
    database.close()
