"""What a sample can tell, as figures: how likely a stratum passes, whatever it holds. No Streamlit here."""

from __future__ import annotations

import plotly.graph_objects as go

from tempo_core import acceptance
from ui.charts import GREY, LAYOUT
from ui.palette import LEVEL_DASHES, Palette


def characteristic(
    n_pairs: int, tolerated: float, confidence: float, n_strata: int, chosen: acceptance.Plan, palette: Palette
) -> go.Figure:
    """How likely a stratum passes (operating characteristic), against the share of its pairs that are bad."""
    figure = go.Figure()
    top = min(1.0, max(0.04, 2 * tolerated))
    shares = [top * i / 60 for i in range(61)]
    plans = {chosen.max_bad: chosen}
    for allowed in (0, 1, 3):
        plan = acceptance.plan(n_pairs, tolerated, confidence, max_bad=allowed, n_strata=n_strata)
        if plan.n_sample < n_pairs:
            plans.setdefault(plan.max_bad, plan)
    for number, (allowed, plan) in enumerate(sorted(plans.items())):
        ours, style = plan == chosen, 1 + number % 4
        chances = [acceptance.accepts(n_pairs, plan, share) for share in shares]
        figure.add_scatter(
            x=shares,
            y=chances,
            mode="lines",
            name=f"read {plan.n_sample:,}, up to {allowed} bad" + (" (planned)" if ours else ""),
            line={"color": palette.levels[style], "dash": LEVEL_DASHES[style], "width": 3.5 if ours else 1.8},
            hovertemplate="%{x:.1%} bad: passes in %{y:.1%}",
        )
    figure.add_vline(x=tolerated, line={"color": GREY, "dash": "dot"}, annotation_text="tolerated")
    figure.update_layout(LAYOUT, height=300, title_text="How likely the stratum passes", hovermode="x unified")
    figure.update_xaxes(title="share of its pairs that are bad", tickformat=".0%", title_standoff=4, rangemode="tozero")
    figure.update_yaxes(tickformat=".0%", range=[-0.02, 1.04])
    figure.update_layout(legend_y=-0.32)
    return figure
