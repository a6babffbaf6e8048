"""Every hostile file ends with its code, soon, and never takes the scan of the others with it."""

import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest

from tempo_core import scan
from tempo_core.errors import MediaError
from tempo_core.media import MediaLimits
from tests.videos import NASTY, ffmpeg, write_nasty

QUICK = MediaLimits(no_progress_s=20.0)
"""A file that hangs the child becomes `timeout`, which no file here may end with; each takes well under a second, the
rest is for machines that do ten other things."""


@pytest.fixture(scope="module")
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture(scope="module")
def nasty_folder(tmp_path_factory, listener):
    folder = tmp_path_factory.mktemp("nasty")
    write_nasty(folder, f"http://127.0.0.1:{listener.getsockname()[1]}/x.ts")
    return folder


@pytest.fixture(scope="module")
def outcomes(nasty_folder, tmp_path_factory):
    paths = [nasty_folder / name for name in NASTY]
    cache = tmp_path_factory.mktemp("cache")
    return {path.name: result for path, result in scan.scan_many(paths, cache, limits=QUICK, root=nasty_folder)}


@pytest.mark.parametrize("name", NASTY, ids=lambda name: name[:20])
def test_a_nasty_file_ends_with_its_code(name, outcomes):
    result = outcomes[name]
    assert getattr(result, "code", None) == NASTY[name], result


def test_every_refusal_names_the_file_and_says_something(outcomes):
    for name, result in outcomes.items():
        if isinstance(result, MediaError):
            assert name in str(result) and len(str(result)) > len(name) + 20


def test_no_playlist_makes_a_connection(outcomes, listener):
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_decoded_frames_count_where_the_header_counts_others(outcomes):
    assert outcomes["edit_list.mp4"].video.n_frames < outcomes["ok.mp4"].video.n_frames
    assert outcomes["edit_list.mp4"].probe["edit_list"]
    assert outcomes["lying_duration.mp4"].video.duration_s == pytest.approx(2.0)
    assert outcomes["two_streams.mp4"].video.n_frames == 60
    assert outcomes["hdr10.mp4"].probe["hdr"] and not outcomes["ok.mp4"].probe["hdr"]
    assert (outcomes["rotated.mp4"].video.width, outcomes["rotated.mp4"].video.height) == (240, 320)


def test_a_damaged_file_keeps_its_sound_part_when_the_setting_says_so(nasty_folder, tmp_path):
    result = scan.scan(nasty_folder / "cut_off.mp4", tmp_path, limits=MediaLimits(keep_damaged=True))
    assert result.probe["partial"] and 2 <= result.video.n_frames < 60


def test_a_file_without_permission_is_unreadable(nasty_folder, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "locked.mp4"
    path.write_bytes((nasty_folder / "ok.mp4").read_bytes())
    path.chmod(0)
    with pytest.raises(MediaError) as error:
        scan.scan(path, tmp_path)
    assert error.value.code == "unreadable"


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    x264 = ("-c:v", "libx264", "-preset", "ultrafast", "-threads", "1")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=640x360:r=30:d=60", *x264, path)
    return path


@pytest.fixture(scope="module")
def endless(long_video, tmp_path_factory):
    """Ten minutes: no machine is through it before a test has looked, or within the CPU seconds of a limit of 0."""
    path = tmp_path_factory.mktemp("endless") / "endless.mp4"
    ffmpeg("-stream_loop", "9", "-i", long_video, "-c", "copy", path)
    return path


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, "crashed"), (signal.SIGSTOP, "timeout")])
def test_a_child_lost_in_mid_video_marks_that_video_and_the_rest_goes_on(sent, code, endless, nasty_folder, tmp_path):
    results = {}
    paths = [endless, nasty_folder / "ok.mp4", nasty_folder / "faststart.mp4"]
    limits = MediaLimits(no_progress_s=10.0)
    work = threading.Thread(target=lambda: results.update(scan.scan_many(paths, tmp_path, limits=limits)))
    work.start()
    _child_reading(endless).send_signal(sent)
    work.join(timeout=300)
    assert getattr(results[endless], "code", None) == code, results[endless]
    assert [type(results[path]).__name__ for path in paths[1:]] == ["ScanResult", "ScanResult"]
    assert not list(tmp_path.rglob("*.part")) and len(list(tmp_path.rglob("*.npz"))) == 2


def _child_reading(path: Path) -> psutil.Process:
    until = time.monotonic() + 180
    while time.monotonic() < until:
        for child in psutil.Process().children(recursive=True):
            # Another child may end while it is looked at.
            with contextlib.suppress(psutil.Error, FileNotFoundError):
                if any(file.path == str(path) for file in child.open_files()):
                    return child
        time.sleep(0.01)
    raise TimeoutError("No child opened the video.")


def test_a_child_that_runs_out_of_memory_says_so_and_the_rest_goes_on(tmp_path, nasty_folder):
    huge = tmp_path / "huge.mp4"
    black = "color=black:s=7680x4320:r=4:d=1"
    ffmpeg("-f", "lavfi", "-i", black, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", huge)
    limits = MediaLimits(max_pixels=1 << 30, memory_bytes=450 << 20)
    results = dict(scan.scan_many([huge, nasty_folder / "ok.mp4"], tmp_path, limits=limits))
    assert results[huge].code == "memory"
    assert results[nasty_folder / "ok.mp4"].video.n_frames == 60


def test_endless_work_ends_by_cpu_time(tmp_path, endless, nasty_folder):
    # Whole seconds: a limit of 0 leaves a child two at most.
    limits = MediaLimits(cpu_s=0.0, cpu_s_per_720p30_s=0.0)
    results = dict(scan.scan_many([endless, nasty_folder / "ok.mp4"], tmp_path, limits=limits))
    assert results[endless].code == "timeout"
    assert results[nasty_folder / "ok.mp4"].video.n_frames == 60


def test_a_child_that_cannot_start_is_an_error_and_no_verdict_on_the_videos(tmp_path, nasty_folder, monkeypatch):
    monkeypatch.setattr(scan, "CHILD", "tempo_core.there_is_no_such_module")
    with pytest.raises(RuntimeError, match="could not start"):
        list(scan.scan_many([nasty_folder / "ok.mp4"], tmp_path))


def test_the_real_nasty_files_end_with_their_codes(tmp_path):
    root = os.environ.get("TEMPO_TEST_DATA")
    if not root:
        pytest.skip("TEMPO_TEST_DATA is not set: no real files here")
    folder = Path(root) / "nasty"
    results = {path.name: result for path, result in scan.scan_many(sorted(folder.iterdir()), tmp_path, limits=QUICK)}
    codes = {name: getattr(result, "code", None) for name, result in results.items()}
    assert codes.pop("decord_corrupted.mp4") == "damaged"
    assert set(codes.values()) == {None}, codes
    assert results["decord_rot90.mov"].probe["rotation"] == 270
    assert results["moviepy_no_duration.webm"].video.n_frames == 74
    assert results["torchcodec_av1.mkv"].video.n_frames == 125
