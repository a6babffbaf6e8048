"""The desk inside a campaign: what it is given of pairs on which a person's opinion is asked.

In a blind campaign the browser must not learn which response is the chosen one: a pair is then its clean video, its
prompt and two texts, left and right as `campaigns.left_is_chosen` has drawn them, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from db import campaigns, pairs
from db.campaigns import CampaignCard
from db.pairs import PairCard
from db.people import Person
from db.session import Database
from tempo_core.settings import Home
from ui import desk_data
from ui.desk_data import QUEUE, Sign

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

EARLIER = ("comments", "history", "standing", "margin")
"""What tells how others saw a pair; a second opinion must not know it."""


def campaign_data(database: Database, home: Home, person: Person, campaign_id: int, sign: Sign) -> dict[str, Any]:
    """Claim the next pairs of a campaign and describe them.

    Raises:
        Unknown: There is no such campaign.
    """
    with database.session() as session:
        card = campaigns.card(session, campaign_id)
        held = [pair_id for pair_id, _version in campaigns.claim(session, person, campaign_id, QUEUE)]
    with database.reading() as session:
        queue = _blind(session, home, person, card, held, sign) if card.blind else _second(session, home, held, sign)
        counts = campaigns.progress(session, campaign_id, person)
    return {
        "mode": "blind" if card.blind else "second",
        "campaign": {"id": card.id, "name": card.name},
        "queue": queue,
        "counts": {"done": counts.done, "total": counts.total, "median_dwell_s": counts.median_dwell_s},
        "past": [],
        "want": None,
    }


def _second(session: Session, home: Home, pair_ids: list[int], sign: Sign) -> list[dict[str, Any]]:
    """The ordinary desk without what others decided and said before."""
    return [pair | dict.fromkeys(EARLIER) for pair in desk_data.described(session, home, pair_ids, sign)]


def _blind(
    session: Session, home: Home, person: Person, campaign: CampaignCard, pair_ids: list[int], sign: Sign
) -> list[dict[str, Any]]:
    found = []
    for pair_id in pair_ids:
        card = pairs.get(session, pair_id)
        clock = desk_data.clock_of(session, home, card.video_id)
        chosen_first = campaigns.left_is_chosen(campaign.id, pair_id, person.id)
        found.append(blind_pair(card, clock, sign, chosen_first=chosen_first))
    return found


def blind_pair(card: PairCard, clock: desk_data.Clock, sign: Sign, *, chosen_first: bool) -> dict[str, Any]:
    """One pair of a blind desk: the whole clean video as a single range, and the two texts by side."""
    both = [card.chosen, card.rejected] if chosen_first else [card.rejected, card.chosen]
    return {
        "id": card.id,
        "version": card.version,
        "prompt": card.prompt,
        "ranges": [[[0, clock.n_frames]]],
        "order": [0],
        **clock.told(),
        "url": sign("clips", card.video_id),
        "responses": both,
    }
