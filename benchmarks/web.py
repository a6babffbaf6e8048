"""How light the web process is while somebody reviews: memory of the real server with the desk open in Chromium.

    python benchmarks/web.py --json

Targets: `server_rss_mb` at most 250 and `torch_in_server` false. Torch is looked for among the server's loaded files,
so it would be seen however it came in.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from playwright.sync_api import sync_playwright

from tempo_core.settings import Home
from tests import studio

ROOT = Path(__file__).parent.parent
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
PAGES = ("", "library", "pairs", "curriculum", "runs", "evaluate")
PATIENCE_MS = 180_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--videos", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        studio.fill(home, n_videos=args.videos).close()
        found = measure(home)
    for name, value in found.items():
        print(f"{name:32}{value}")
    if args.json:
        print(json.dumps(found))


def measure(home: Home) -> dict[str, object]:
    """Memory at start, with the review page open, and after every other page was looked at."""
    port = _free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), f"--server.port={port}"]
    environment = os.environ | {"TEMPO_HOME": str(home.root), "TEMPO_WORKER": "0"}
    with (home.root / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--server.headless=true"], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(f"{url}/health", server)
        at_start = _rss_mb(server.pid)
        with_review, with_all = _looked_at(url, server.pid)
        return {
            "server_rss_mb": with_review,
            "torch_in_server": _holds_torch(server.pid),
            "server_rss_mb_at_start": at_start,
            "server_rss_mb_after_all_pages": with_all,
        }
    finally:
        server.terminate()
        server.wait(30)


def _looked_at(url: str, pid: int) -> tuple[float, float]:
    """Open the desk until its first video can play, then every other page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{url}/review")
        page.locator("video").first.wait_for(state="attached")
        page.wait_for_timeout(3000)
        with_review = _rss_mb(pid)
        for name in PAGES:
            page.goto(f"{url}/{name}")
            page.locator("[data-testid=stMain] h1").first.wait_for()
        with_all = _rss_mb(pid)
        browser.close()
    return with_review, with_all


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return round(int(line.split()[1]) / 1024, 1)


def _holds_torch(pid: int) -> bool:
    return "/torch/" in Path(f"/proc/{pid}/maps").read_text()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < end:
        if server.poll() is not None:
            raise SystemExit(f"The server ended with code {server.returncode}.")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"The server did not answer {url}.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
