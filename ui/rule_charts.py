"""What each rule looks at, over all videos, with the cut of its slider. No Streamlit here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from tempo_core.recount import Counts
from tempo_core.timeline import Richness
from ui.charts import GREY, LAYOUT
from ui.palette import Palette

Cut = tuple[float, str]
"""Where a limit lies, and whether what is "below" or "above" it falls."""


def of_rules(counts: Counts, richness: Richness, palette: Palette) -> list[go.Figure]:
    """Shots, longest shot, clips, and clips of the largest group."""
    most = float(richness.max_group_clips)
    return [
        _figure("shots kept", counts.n_shots, 1, 64, [(richness.min_shots, "below"), (richness.max_shots, "above")],
                palette),
        _figure("longest shot, s", counts.longest_s, 1, 60, [(richness.max_shot_s, "above")], palette,
                whole=False),
        _figure("clips", counts.n_clips, 1, 64, [(richness.min_clips, "below")], palette),
        _figure("clips of the largest group", counts.largest_group, 1, 16, [(most, "above")], palette),
    ]  # fmt: skip


def neighbours(alike: NDArray[np.float64], threshold: float, palette: Palette) -> go.Figure:
    """How alike neighbouring shots are; more alike than the threshold, they are one clip."""
    return _figure("likeness of neighbouring shots", alike, 0.05, 1.0, [(threshold, "joined")], palette, whole=False)


def _figure(
    title: str,
    values: NDArray[np.float64],
    width: float,
    highest: float,
    cuts: Sequence[Cut],
    palette: Palette,
    *,
    whole: bool = True,
) -> go.Figure:
    """Bars of videos; those that fall are grey and hatched. Values above `highest` stand in the last bar.

    A bar of whole numbers stands on its number; any other covers from its value to the next.
    """
    known = values[~np.isnan(values)]
    bins, counts = np.unique(np.floor(np.minimum(known, highest) / width + 1e-9), return_counts=True)
    half = 0.0 if whole else width / 2
    centre = bins * width + half
    falls = [any(_falls(at, side, place) for at, side in cuts) for place in centre]
    figure = go.Figure(
        go.Bar(
            x=centre,
            y=counts,
            width=width * 0.9,
            marker={
                "color": [GREY if fell else palette.levels[2] for fell in falls],
                "pattern": {"shape": ["/" if fell else "" for fell in falls], "fgopacity": 0.5},
            },
            hovertemplate="%{x:.3g}: %{y:,}<extra></extra>",
        )
    )
    for at, side in cuts:
        # Between two bars of whole numbers, so that the limit itself is seen to pass.
        line = at if not whole else at - 0.5 if side == "below" else at + 0.5
        figure.add_vline(x=line, line={"color": palette.warn, "width": 2, "dash": "dash"})
    low, high = (centre.min(), centre.max()) if len(centre) else (0.0, 1.0)
    # A limit far above every value would press the bars together; its number stands at the slider.
    near = [at for at, side in cuts if side != "above" or at <= 2 * high + 4 * width]
    reach = [min([low, *near]) - width, max([high, *near]) + width]
    figure.update_layout(LAYOUT, title_text=title, height=190, showlegend=False, bargap=0.1)
    figure.update_layout(margin={"l": 4, "r": 4, "t": 34, "b": 4}, title_font_size=13)
    figure.update_xaxes(range=reach, nticks=8)
    figure.update_yaxes(nticks=4, rangemode="tozero")
    return figure


def _falls(at: float, side: str, place: float) -> bool:
    return place < at if side == "below" else side == "above" and place > at
