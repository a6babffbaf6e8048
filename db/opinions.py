"""What readers of a campaign think of its pairs: append-only rows that never change the pair itself.

The desk sends the same items as for reviews, told apart by a token, so nothing is lost and nothing counts twice. In a
blind campaign an act names a side; which side held the chosen response is known here only.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import campaigns, guidelines, people, reviews
from db.opinion_standings import standing
from db.people import Person
from db.reviews import Conflict, ReviewItem, Saved
from db.session import now_ms
from db.tables import CampaignPairRow, CampaignRow, OpinionRow, PairRow, StratumRow, UserRow
from tempo_core.errors import TempoError, Unknown

OPEN_ACTS = {"accept": "good", "reject": "bad", "swap": "bad", "flag": "unsure"}
BLIND_ACTS = {"left": True, "right": False, "tie": None, "flag": None}
"""Act -> whether the left response was called the better one."""


def give(
    session: Session, person: Person, campaign_id: int, item: ReviewItem, *, left_is_chosen: bool | None = None
) -> Saved | Conflict:
    """Save one item of a campaign. The same token again is the same opinion, whatever happened in between.

    Args:
        left_is_chosen: Which side the desk showed the chosen response on; checked against `campaigns`.

    Raises:
        Unknown: No such campaign, or the pair is not asked about in it.
        TempoError: An act that this campaign does not know, or sides other than those it gives this reader.
    """
    people.require(person, "reviewer")
    asked = _asked(session, campaign_id, item.pair_id)
    if item.act == "comment":
        return reviews.decide(session, person, item)
    known = session.execute(select(OpinionRow).where(OpinionRow.token == item.token)).scalar_one_or_none()
    if known is not None:
        if (known.reviewer_id, known.pair_id, known.campaign_id) != (person.id, item.pair_id, campaign_id):
            return _refused(item, f"The token {item.token} belongs to another opinion.")
        return _saved(item, asked, repeated=True)
    if item.act == "skip":
        campaigns.release(session, person, campaign_id, [item.pair_id])
        return _saved(item, asked)
    if asked.closed_ms is not None or asked.bulk is not None:
        return _refused(item, "This campaign no longer asks about this pair; your opinion came after its end.")
    if item.act in ("undo", "reason"):
        return _about_another(session, person, campaign_id, item, asked)
    verdict, side = _verdict(person, campaign_id, item, asked.kind, left_is_chosen)
    refused = _not_yours(session, person, campaign_id, item, asked)
    if refused is not None:
        return refused
    _append(session, person, campaign_id, item, verdict, left_is_chosen=side)
    campaigns.release(session, person, campaign_id, [item.pair_id], seen=True)
    return _saved(item, asked)


def _asked(session: Session, campaign_id: int, pair_id: int) -> Any:
    """Campaign, pair and stratum."""
    m, c, p, s = CampaignPairRow, CampaignRow, PairRow, StratumRow
    columns: tuple[Any, ...] = (c.kind, c.closed_ms, c.settings, p.status, p.version, s.bulk)
    query = (
        select(*columns)
        .select_from(m)
        .join(c, c.id == m.campaign_id)
        .join(p, p.id == m.pair_id)
        .outerjoin(s, s.id == m.stratum_id)
        .where(m.campaign_id == campaign_id, m.pair_id == pair_id, m.drawn == 1)
    )
    found = session.execute(query).one_or_none()
    if found is None:
        raise Unknown(f"Campaign {campaign_id} does not ask about pair {pair_id}.")
    return found


def _verdict(
    person: Person, campaign_id: int, item: ReviewItem, kind: str, shown: bool | None
) -> tuple[str, bool | None]:
    """What the act says of the pair as it was made, and the side the chosen response stood on (blind only)."""
    if kind != "sample":
        if item.act not in OPEN_ACTS:
            raise TempoError(f"A second opinion cannot {item.act} a pair. Accept, reject, swap or flag it.")
        return OPEN_ACTS[item.act], None
    if item.act not in BLIND_ACTS:
        raise TempoError(f"A blind campaign knows left, right and tie; {item.act} is none of them.")
    side = campaigns.left_is_chosen(campaign_id, item.pair_id, person.id)
    if shown is not None and shown != side:
        raise TempoError("The two responses were shown on other sides than this campaign gives you. Reload the page.")
    left_wins = BLIND_ACTS[item.act]
    return ("unsure" if left_wins is None else "good" if left_wins == side else "bad"), side


def _not_yours(session: Session, person: Person, campaign_id: int, item: ReviewItem, asked: Any) -> Conflict | None:
    """Why this person's opinion is not wanted: others were first, or the person decided the pair before."""
    o = OpinionRow
    query = (
        standing(UserRow.name, o.created_ms, o.reviewer_id)
        .join(UserRow, UserRow.id == o.reviewer_id)
        .where(o.campaign_id == campaign_id, o.pair_id == item.pair_id)
        .order_by(o.id.desc())
    )
    given = session.execute(query).all()
    others = [row for row in given if row.reviewer_id != person.id]
    if len(others) >= campaigns.readers(asked.settings) and len(others) == len(given):
        age_s = max(0, (now_ms() - others[0].created_ms) // 1000)
        text = f"{others[0].name} judged this pair {age_s} s ago."
        return Conflict(item.token, item.pair_id, others[0].name, "judged", age_s, text)
    if asked.kind == "second" and campaigns.decided_by(session, person, item.pair_id):
        return _refused(item, "You decided this pair yourself; a second opinion is somebody else's.")
    return None


def _about_another(
    session: Session, person: Person, campaign_id: int, item: ReviewItem, asked: Any
) -> Saved | Conflict:
    """Undo and reason count while the opinion they speak about is this person's newest; undo goes to any depth."""
    o = OpinionRow
    mine = o.campaign_id == campaign_id, o.pair_id == item.pair_id, o.reviewer_id == person.id
    top = session.execute(standing(o).where(*mine)).scalar_one_or_none()
    of = session.execute(select(o).where(o.token == (item.of or ""), *mine)).scalar_one_or_none()
    if top is None or of is None or _origin(of) != _origin(top):
        return _refused(item, "There is no opinion of yours to speak about; it was taken back or replaced.")
    verdict = "undone" if item.act == "undo" else top.verdict
    _append(session, person, campaign_id, item, verdict, left_is_chosen=top.left_is_chosen, of_id=_origin(of))
    return _saved(item, asked)


def _origin(opinion: OpinionRow) -> int:
    return opinion.of_id if opinion.act == "reason" and opinion.of_id is not None else opinion.id


def _append(
    session: Session, person: Person, campaign_id: int, item: ReviewItem, verdict: str, **more: Any
) -> OpinionRow:
    followed = guidelines.current(session)
    row = OpinionRow(
        campaign_id=campaign_id,
        pair_id=item.pair_id,
        reviewer_id=person.id,
        act=item.act,
        verdict=verdict,
        reason=item.reason,
        note=item.note,
        dwell_ms=item.dwell_ms,
        token=item.token,
        guideline_sha256=followed.sha256 if followed else None,
        created_ms=now_ms(),
        **more,
    )
    session.add(row)
    session.flush()
    return row


def _saved(item: ReviewItem, asked: Any, *, repeated: bool = False) -> Saved:
    return Saved(item.token, item.pair_id, asked.status, asked.version, repeated=repeated)


def _refused(item: ReviewItem, text: str) -> Conflict:
    return Conflict(item.token, item.pair_id, "", "judged", 0, text)
