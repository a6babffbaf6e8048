"""`python -m jobs freeze`: fix the accepted pairs as a dataset version, or only say what it would hold."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from db import curricula, datasets
from db.pair_filters import PairFilter
from db.splits import Preview
from jobs.commands import DONE, filter_of, open_studio
from tempo_core.errors import TempoError
from tempo_core.types import level_key


def freeze(args: Namespace) -> int:
    studio, wanted = open_studio(), filter_of(args)
    if args.view is not None and wanted != PairFilter(axis=wanted.axis, thresholds=wanted.thresholds):
        raise TempoError("Name either a saved view (--view) or a filter, not both.")
    origin: dict[str, Any] = {}
    with studio.database.reading() as session:
        how: dict[str, Any] = {"held_out_share": args.held_out, "seed": args.seed}
        how |= {"thresholds": wanted.thresholds, "axis": wanted.axis}
        if args.curriculum is not None:
            curriculum = curricula.named(session, args.curriculum)
            how |= {"thresholds": curriculum.thresholds, "axis": curriculum.axis}
            origin |= {"curriculum": curriculum.name, "curriculum_id": curriculum.id}
        if args.view is not None:
            wanted = datasets.of_view(session, args.view)
            origin["view"] = args.view
        seen = datasets.preview(session, wanted, **how)
    if args.dry_run:
        print(_would_hold(seen))
        return DONE
    with studio.database.session() as session:
        version_id = datasets.freeze(session, studio.person, args.name, wanted, origin=origin, **how)
        card = datasets.get(session, version_id)
    print(
        f"version {card.id}: {card.name} {card.number}, {card.n_pairs} pairs of {card.n_videos} videos, "
        f"{card.n_held_out} pairs held out, sha256 {card.content_sha256}"
    )
    for line in card.stated:
        print(f"accepted unread: {line}")
    return DONE


def _would_hold(seen: Preview) -> str:
    levels = ", ".join(
        f"{level_key(level)} {train} + {held_out}"
        for level, (train, held_out) in seen.levels.items()
        if train + held_out
    )
    lines = [
        f"{seen.n_pairs} pairs of {seen.n_videos} videos",
        f"held out: {seen.n_held_out} pairs of {seen.n_videos_held_out} videos",
        f"to train on + held out: {levels}" if levels else "",
        f"left out, video withdrawn: {seen.n_withdrawn}" if seen.n_withdrawn else "",
    ]
    return "\n".join(line for line in lines if line)
