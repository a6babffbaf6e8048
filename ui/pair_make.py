"""The form that makes pairs: who answers, on what, with which perturbations."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from db import caption_sets, people
from jobs.payloads import EMBEDDED_TOKENS, PairPayload
from tempo_core import servers, video_llms
from tempo_core.errors import TempoError
from tempo_core.servers import FramesAs
from tempo_core.settings import EMBEDDED_MODEL
from tempo_core.types import Input
from tempo_core.video_llms import checkpoints
from ui import state
from ui.acting import for_role, queue, telling
from ui.text import escaped

TOKENS = 512
KINDS = ("drop", "shuffle", "reverse")
MAGNITUDES = (2, 4, 8, 16)
FOLDER, SERVER = "A model folder", "A server"
INPUTS: dict[Input, str] = {
    "captions": "captions of the clips (the paper's)",
    "clips": "each clip as a short video",
    "video": "the whole video",
}
FRAMES: dict[FramesAs, str] = {
    "video": "as videos, with their rate (vLLM)",
    "images": "as single pictures (any server; the model is told no times)",
}


def section(n_kept: int, empty: bool) -> None:
    """Ask a model. The embedded one by default."""
    with st.expander("Make pairs", icon=":material/add_circle:", expanded=empty):
        st.caption(f"Asks a model about {n_kept:,} kept videos: on the clean order, and on each perturbed one.")
        # Outside the form, because the rest of it depends on these two.
        who = st.segmented_control("Who answers", (FOLDER, SERVER), default=FOLDER, required=True, key="make_who")
        address = _address() if who == SERVER else ""
        with st.form("make", border=False):
            _form(n_kept, who == SERVER, address)


def _address() -> str:
    """The server's address as it is typed, with a word about what goes there."""
    typed = st.text_input("Server address", placeholder="http://127.0.0.1:8000/v1", key="make_server",
                          help=f"Any OpenAI-compatible server. Its key, if it wants one, is read from "
                               f"{servers.KEY} where the studio is started.")  # fmt: skip
    if not typed.strip():
        return ""
    with telling():
        url = servers.checked_url(typed)
        if not servers.on_this_machine(url):
            readable = " It is not encrypted on the way." if url.startswith("http:") else ""
            st.warning(
                f"Frames and texts of your videos leave this machine for {escaped(servers.host(url))}.{readable}",
                icon=":material/outbound:",
            )
        return url
    return ""


def _form(n_kept: int, served: bool, address: str) -> None:
    if served:
        left, right = st.columns(2)
        model = left.text_input("Name of the model there", placeholder="Qwen/Qwen2.5-VL-7B-Instruct", key="make_served")
        frames_as = right.radio("Frames are sent", FRAMES, format_func=FRAMES.__getitem__, key="make_frames",
                                help="As JPEG of quality 95, at most 448 pixels on the long side.")  # fmt: skip
    else:
        model = st.text_input("Model folder", str(EMBEDDED_MODEL), help="A local checkpoint with safetensors weights")
        frames_as = "video"
    left, middle, right = st.columns(3)
    asked_on = left.radio("Ask on", INPUTS, format_func=INPUTS.__getitem__)
    captions_from = _captions(left)
    kinds = middle.multiselect("Perturbations", KINDS, KINDS)
    magnitudes = middle.multiselect("Magnitudes r", MAGNITUDES, MAGNITUDES, help="Large r = strong = easy")
    limit = right.number_input("At most this many videos (0 = all)", 0, 100_000, 0)
    seed = right.number_input("Seed", 0, 2**31 - 1, 0)
    if not st.form_submit_button("Make pairs", type="primary", **for_role("admin", unless=n_kept == 0)):
        return
    with telling():
        who = _server(address, model, frames_as) if served else _folder(model, asked_on)
        payload = PairPayload(
            **who,
            input=asked_on,
            captions_from=captions_from if asked_on == "captions" else None,
            kinds=tuple(kinds),
            magnitudes=tuple(magnitudes),
            seed=int(seed),
            limit_videos=int(limit) or None,
        )
        queue(payload)


def _captions(place: st.delta_generator.DeltaGenerator) -> int | None:
    """Which captions the input "captions" takes; nothing is drawn where no data set brought any."""
    with state.database().reading() as session:
        names = {card.id: card.name for card in caption_sets.listing(session)}
    if not names:
        return None
    chosen: int = place.selectbox(
        "Captions", [0, *names], key="make_captions",
        format_func=lambda i: f"{i} {names[i]}" if i else "the model's own",
        help="For questions on captions; sets are imported below",
    )  # fmt: skip
    return chosen or None


def _folder(model: str, asked_on: Input) -> dict[str, object]:
    found = checkpoints.inspect(Path(model.strip()).expanduser())
    checkpoints.check_input(found, asked_on)
    tokens = EMBEDDED_TOKENS if found.embedded else TOKENS
    return {"model": str(found.path), "max_new_tokens": tokens}


def _server(address: str, model: str, frames_as: FramesAs) -> dict[str, object]:
    # Before anything is sent with the studio's key.
    people.require(state.person(), "admin")
    if not address or not model.strip():
        raise TempoError("Type the server's address and the name of the model there.")
    # A slip in either is told here, not by a job that failed.
    video_llms.connect(servers.Server(address, model.strip(), frames_as)).check()
    return {"server": address, "served_model": model.strip(), "frames_as": frames_as, "max_new_tokens": TOKENS}
