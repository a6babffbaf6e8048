"""The server around the pages: who gets a file, and what everybody gets with it."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.testclient import TestClient

from db import artifacts, pairs, videos
from tempo_core.settings import Home
from tests import studio
from ui import files, server, signing, state
from ui.signing import COOKIE, Signer, secret_key

ROOT = Path(__file__).parent.parent.parent
BROWSER = "a" * 32


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory):
    """The routes and the guard of the real app over a filled home folder."""
    home = Home(tmp_path_factory.mktemp("served") / "home")
    studio.fill(home, n_videos=1).close()
    before = os.environ.get("TEMPO_HOME")
    os.environ["TEMPO_HOME"] = str(home.root)
    for once in (state.home, state.database, state.signer):
        once.cache_clear()
    with TestClient(Starlette(routes=server.ROUTES, middleware=server.MIDDLEWARE), "http://localhost") as opened:
        opened.cookies.set(COOKIE, BROWSER, domain="localhost.local")
        yield opened
    state.database().close()
    for once in (state.home, state.database, state.signer):
        once.cache_clear()
    os.environ.pop("TEMPO_HOME")
    if before is not None:
        os.environ["TEMPO_HOME"] = before


def signed(room: str, number: int, browser: str = BROWSER, now_s: float | None = None) -> str:
    return state.signer().url(room, number, browser, now_s=now_s)


def test_a_signed_video_comes_whole_and_in_ranges(client):
    whole = client.get(signed("clips", 1))
    assert whole.status_code == 200 and whole.headers["content-type"] == "video/mp4"
    part = client.get(signed("clips", 1), headers={"Range": "bytes=4-7"})
    assert part.status_code == 206 and part.content == b"ftyp"
    assert part.headers["content-range"] == f"bytes 4-7/{len(whole.content)}"


def test_private_files_stay_in_this_browser_and_run_nothing(client):
    headers = client.get(signed("clips", 1)).headers
    assert headers["cache-control"].startswith("private") and headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"


def test_the_sprite_holds_one_thumbnail_a_clip(client):
    with state.database().reading() as session:
        card = pairs.get(session, 1)
    answer = client.get(signed("sprites", card.timeline_id))
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
    assert answer.content[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    "address",
    [
        lambda: "/clips/1",
        lambda: signed("clips", 1)[:-1] + "0" * (signed("clips", 1)[-1] != "0"),
        lambda: signed("clips", 1).replace("/clips/1?", "/clips/2?"),
        lambda: signed("sprites", 1).replace("sprites", "clips"),
        lambda: signed("clips", 1, browser="b" * 32),
        lambda: signed("clips", 1, now_s=time.time() - 3600),
        lambda: re.sub(r"e=\d+", "e=99999999999", signed("clips", 1)),
        lambda: re.sub(r"e=\d+", "e=²", signed("clips", 1)),
    ],
    ids=["unsigned", "changed", "other id", "other room", "other browser", "expired", "later expiry", "no number"],
)
def test_an_address_that_was_not_signed_for_this_browser_is_refused(client, address):
    assert client.get(address()).status_code == 403


@pytest.mark.parametrize("room", ["clips", "sprites", "exports"])
def test_a_signed_number_that_nothing_has_is_not_found(client, room):
    assert client.get(signed(room, 9999)).status_code == 404


@pytest.mark.parametrize(
    "number",
    [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "%252e%252e",
        "%252e%252e%252f1",
        "..%5c..%5c1",
        "1%00",
        "1%0d%0aX:%20y",
        "-1",
        "1.0",
        "٣",
        r"\\host\share",
        r"\\?\C:\1",
        "C:1",
        "/etc/passwd",
        "file:///etc/passwd",
        "1/2",
        "1;2",
        "0x1",
        "9" * 16,
    ],
)
def test_only_a_whole_number_names_a_file(client, number):
    query = signed("clips", 1).split("?")[1]
    assert client.get(f"/clips/{number}?{query}").status_code in (400, 404)


def test_a_row_that_points_out_of_the_home_folder_is_not_sent(client):
    secret = state.home().root.parent / "secret.txt"
    secret.write_text("outside")
    (state.home().exports / "link.txt").symlink_to(secret)
    (state.home().exports / "good.txt").write_text("inside")
    with state.database().session() as session:
        up = artifacts.record(session, "export", "0" * 64, "../secret.txt", 7)
        link = artifacts.record(session, "export", "1" * 64, "exports/link.txt", 7)
        log = artifacts.record(session, "log", "2" * 64, "secret.key", 32)
        good = artifacts.record(session, "export", "3" * 64, "exports/good.txt", 6)
    assert [client.get(signed("exports", number)).status_code for number in (up, link, log)] == [404] * 3
    answer = client.get(signed("exports", good))
    assert answer.text == "inside" and "attachment" in answer.headers["content-disposition"]


@pytest.mark.parametrize("rel_path", ["../secret.mp4", "/SECRET", "link.mp4", "nothing.mp4"])
def test_a_video_row_that_points_out_of_its_library_is_not_sent(client, tmp_path, rel_path):
    with state.database().reading() as session:
        (library,) = videos.libraries(session)
    secret = library[2].parent / "secret.mp4"
    secret.write_bytes(videos_bytes := b"\0\0\0\x18ftypisom" + bytes(64))
    if not (library[2] / "link.mp4").is_symlink():
        (library[2] / "link.mp4").symlink_to(secret)
    with state.database().session() as session:
        kept = session.execute(text("SELECT rel_path FROM location WHERE video_id = 1")).scalar_one()
        moved = rel_path.replace("/SECRET", str(secret))
        session.execute(text("UPDATE location SET rel_path = :to WHERE video_id = 1"), {"to": moved})
    try:
        answer = client.get(signed("clips", 1))
    finally:
        with state.database().session() as session:
            session.execute(text("UPDATE location SET rel_path = :to WHERE video_id = 1"), {"to": kept})
    assert answer.status_code == 404 and videos_bytes not in answer.content
    assert client.get(signed("clips", 1)).status_code == 200


def test_what_is_no_browser_video_is_not_sent_as_one(client, tmp_path, monkeypatch):
    fake = tmp_path / "page.mp4"
    fake.write_text("<script>alert(1)</script>")
    monkeypatch.setattr(files.videos, "path_of", lambda session, video_id: fake)
    assert client.get(signed("clips", 1)).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""])
def test_an_unknown_host_name_is_refused_on_every_path(client, host):
    for path in ("/health", signed("clips", 1)):
        assert client.get(path, headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "localhost:8501", "127.0.0.1:9", "[::1]:8501"])
def test_loopback_names_are_served(client, host):
    assert client.get("/health", headers={"Host": host}).json()["status"] == "ok"


def test_every_answer_carries_a_policy_without_foreign_hosts(client):
    policy = client.get("/health").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy and "object-src 'none'" in policy
    assert "sha256-" in policy.split("script-src")[1].split(";")[0]
    assert not re.search(r"https?:|\*|unsafe-eval'(?<!wasm-unsafe-eval')", policy)
    script = policy.split("script-src")[1].split(";")[0]
    assert "'unsafe-inline'" not in script


def test_an_address_stays_the_same_for_minutes_so_that_caches_hold():
    signer = Signer(b"k" * 32)
    at = 1_000_000_200.0
    assert signer.url("clips", 7, "b", now_s=at) == signer.url("clips", 7, "b", now_s=at + 99)
    expires = int(re.search(r"e=(\d+)", signer.url("clips", 7, "b", now_s=at)).group(1))
    assert signing.GRID_S <= expires - at <= 2 * signing.GRID_S


def test_without_a_cookie_no_signature_holds():
    signer = Signer(b"k" * 32)
    expires, signature = re.search(r"e=(\d+)&s=(\w+)", signer.url("clips", 1, "")).groups()
    assert not signer.holds("clips", 1, "", expires, signature)


def test_the_key_is_made_once_and_read_by_its_owner_only(tmp_path):
    key = secret_key(tmp_path)
    assert len(key) == 32 and secret_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600


def start(tmp_path: Path, *flags: str, cwd: Path | None = None, hang_s: int = 300, **environment: str):
    """Run the real app; returns the ended process, or None when it was still serving (and was then stopped)."""
    given = os.environ | {"TEMPO_HOME": str(tmp_path / "home"), "TEMPO_WORKER": "0"} | environment
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.headless=true", *flags]
    return subprocess.run(command, cwd=cwd or tmp_path, env=given, capture_output=True, text=True, timeout=hang_s)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1"])
def test_it_refuses_to_listen_for_others_without_a_login(address, monkeypatch, capsys):
    monkeypatch.delenv("TEMPO_INSECURE", raising=False)
    known = server.config.get_option
    monkeypatch.setattr(server.config, "get_option", lambda name: address if name == "server.address" else known(name))
    with pytest.raises(SystemExit) as refused:
        server.refuse_open_bind()
    assert refused.value.code == 2 and address in capsys.readouterr().err
    monkeypatch.setenv("TEMPO_INSECURE", "1")
    server.refuse_open_bind()


def test_the_real_process_ends_with_a_message_when_bound_to_all_addresses(tmp_path):
    ended = start(tmp_path, "--server.address=0.0.0.0", "--server.port=0")
    assert ended.returncode != 0
    assert "no login is configured" in ended.stderr
    assert not (tmp_path / "home" / "tempo.db").exists()
