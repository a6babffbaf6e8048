"""Team: how far people agree, what they did, how the automatic rules compare, and who may do what."""

from __future__ import annotations

import streamlit as st

from db import activity, people
from db.people import ROLES, PersonLine
from ui import state
from ui.acting import of_address, telling
from ui.team_agreement import agreements
from ui.team_rules import filters_against_people
from ui.text import escaped

TABS = ("Agreement", "Activity", "Rules", "People")
SPANS = {7: "7 days", 30: "30 days", 90: "90 days"}
SECRETS = """[auth]
redirect_uri = "https://studio.example.org/oauth2callback"
cookie_secret = "a long random text"
client_id = "from your provider"
client_secret = "from your provider"
server_metadata_url = "https://login.example.org/.well-known/openid-configuration"

[tempo]
people = ["you@example.org", "ada@example.org"]  # who may enter
admins = ["you@example.org"]                     # without this line: the first of the people
role = "reviewer"                                # of the others at first; or "viewer"
"""
MAY = "**viewer** reads and plays. **reviewer** also reviews, comments and undoes their own. **admin** does everything."


def _activity() -> None:
    """What everybody did, by day; bulk decisions apart, for nobody looked at those pairs."""
    with state.database().reading() as session:
        everybody = people.listing(session)
    names = {p.id: p.name for p in everybody}
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    span = left.segmented_control("Span", list(SPANS), default=30, required=True, format_func=SPANS.__getitem__,
                                  label_visibility="collapsed", key="span")  # fmt: skip
    who = right.selectbox("Person", [0, *names], format_func=lambda i: names.get(i, "everybody"), key="who")
    with state.database().reading() as session:
        found = activity.days(session, span or 30, who or None)
    if not found:
        st.info("Nobody decided anything in this time.", icon=":material/event_busy:")
        return
    one, two, three = st.columns(3)
    one.metric("Decisions one by one", f"{sum(d.decisions for d in found):,}")
    two.metric("Opinions in campaigns", f"{sum(d.opinions for d in found):,}")
    three.metric("Decided in bulk", f"{sum(d.bulk for d in found):,}", help="Nobody looked at these pairs one by one")
    st.dataframe(
        [
            {"day": d.day, "person": d.person, "decisions": d.decisions, "opinions": d.opinions,
             "taken back": d.undone, "in bulk": d.bulk, "median s a pair": d.median_dwell_s}
            for d in found
        ],
        hide_index=True,
        column_config={"median s a pair": st.column_config.NumberColumn(format="%.1f")},
    )  # fmt: skip
    st.caption("Days are UTC. The reviews themselves are append-only; a pair's page shows its history.")


def _people() -> None:
    """Everybody and their role; an admin changes those of others."""
    with state.database().reading() as session:
        everybody = people.listing(session)
    st.caption(MAY)
    st.dataframe(
        [
            {"person": p.name, "e-mail": p.email or "", "role": p.role, "access": "yes" if p.active else "ended",
             "": _mark(p)}
            for p in everybody
        ],
        hide_index=True,
    )  # fmt: skip
    others = [p for p in everybody if p.id != state.person().id and not p.local]
    if not state.login_configured():
        st.info(
            "This studio has no login: whoever opens it is the one local admin. To work as a team, name an OIDC "
            "provider and the people who may enter in .streamlit/secrets.toml, then start it again.",
            icon=":material/person:",
        )
        with st.expander("What stands in secrets.toml", icon=":material/key:"):
            st.code(SECRETS, language="toml")
            st.caption("Signing in also needs Authlib: pip install 'streamlit\\[auth\\]'")
    if not state.may("admin"):
        st.caption(escaped(state.why_not("admin") or ""))
    elif others:
        _change(others)


def _mark(p: PersonLine) -> str:
    if p.id == state.person().id:
        return "you"
    if p.local:
        return "whoever opens a studio without login"
    return "admin by the settings" if (p.email or "").lower() in _named() else ""


def _named() -> set[str]:
    return state.named_admins() if state.login_configured() else set()


def _change(others: list[PersonLine]) -> None:
    names = {p.id: p for p in others}
    left, middle, right = st.columns([3, 2, 2], vertical_alignment="bottom")
    chosen = names[left.selectbox("Person", list(names), format_func=lambda i: names[i].name, key="person")]
    fixed = (chosen.email or "").lower() in _named()
    why = "An admin by [tempo] admins in the settings; change it there." if fixed else ""
    role = middle.selectbox("Role", ROLES, ROLES.index(chosen.role), key=f"role_{chosen.id}", disabled=fixed,
                            help=escaped(why))  # fmt: skip
    if right.button("Let in again" if not chosen.active else "End access", key="access", disabled=fixed,
                    help=escaped(why), width="stretch"):  # fmt: skip
        with telling():
            with state.database().session() as session:
                people.set_active(session, state.person(), chosen.id, not chosen.active)
            st.rerun()
    if role != chosen.role and st.button(f"Make this person {escaped(role)}", type="primary", key="set_role"):
        with telling():
            with state.database().session() as session:
                people.set_role(session, state.person(), chosen.id, role)
            st.rerun()


def main() -> None:
    st.title("Team")
    of_address("tab", TABS)
    tab = st.segmented_control("Part", TABS, key="tab", required=True, label_visibility="collapsed")
    {"Agreement": agreements, "Activity": _activity, "Rules": filters_against_people, "People": _people}[
        tab or "Agreement"
    ]()


main()
