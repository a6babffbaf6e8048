"""A server is asked in exactly one form, waits are bounded, and nothing that it said is asked twice."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tempo_core import servers, video_llms
from tempo_core.errors import QuestionRefused, ServerAway, ServerRefused, VideoLost
from tempo_core.servers import Server
from tempo_core.types import Answer, Frames, Question, Sampling
from tempo_core.video_llms import server_line
from tempo_core.video_llms.answer_log import AnswerLog
from tempo_core.video_llms.served import ServedVideoLLM
from tests.answering import MODEL, Answering, Fault, answering

SAMPLING = Sampling(input="video", temperature=0.7, top_p=0.9, repetition_penalty=1.05, max_new_tokens=64)
NO_WAITS = (0.0, 0.0, 0.0)
KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server():
    with answering() as state:
        yield state


def asking(state: Answering, log: Path | None = None, waits_s=NO_WAITS, **more) -> ServedVideoLLM:
    line = server_line.Line(state.url, waits_s=waits_s, sleep=lambda seconds: None)
    return ServedVideoLLM(Server(state.url, MODEL, **more), line, AnswerLog(log))


def plain(value: int, n: int = 1, fps: float = 2.0) -> Frames:
    """Pictures of one grey each, lighter and lighter: JPEG keeps them but for a step or two."""
    greys = [np.full((32, 48, 3), value + 20 * i, np.uint8) for i in range(n)]
    return Frames(np.stack(greys), tuple(range(100, 100 + n)), fps)


def greys(data: str) -> list[int]:
    """The mean grey of each picture of a data address, and that each is a JPEG of the right size."""
    found = []
    for part in data.split(","):
        raw = base64.b64decode(part, validate=True)
        assert raw.startswith(b"\xff\xd8")
        picture = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (32, 48, 3)
        found.append(round(float(picture.mean())))
    return found


def test_a_video_travels_as_one_list_of_pictures_with_its_rate_and_indices(server):
    (answer,) = asking(server).answer([Question("Tell it.", plain(40, 3, fps=1.5))], SAMPLING, [2**62 + 1])
    (request,) = server.questions
    asked = request.json
    (message,) = asked.pop("messages")
    assert asked == {
        "model": MODEL, "temperature": 0.7, "top_p": 0.9, "max_tokens": 64, "seed": 2**62 + 1, "stream": False,
        "repetition_penalty": 1.05,
        "media_io_kwargs": {
            "video": {"num_frames": 3, "fps": 1.5, "do_sample_frames": False, "frames_indices": [0, 1, 2]}
        },
    }  # fmt: skip
    video, text = message["content"]
    assert (message["role"], text) == ("user", {"type": "text", "text": "Tell it."})
    assert (video.keys(), video["type"]) == ({"type", "video_url"}, "video_url")
    head, _, data = video["video_url"]["url"].partition(",")
    assert head == "data:video/jpeg;base64"
    assert greys(data) == [40, 60, 80]
    assert (request.path, request.headers["Content-Type"]) == ("/v1/chat/completions", "application/json")
    assert "Authorization" not in request.headers
    assert answer == Answer(server.said(request.body), 13, "stop")


def test_colours_are_not_swapped_on_the_way(server):
    red = Frames(np.full((1, 32, 48, 3), (200, 0, 0), np.uint8), (0,), 1.0)
    asking(server).answer([Question("Tell it.", red)], SAMPLING, [1])
    data = server.questions[0].content[0]["video_url"]["url"].partition(",")[2]
    bgr = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[0, 0]
    assert bgr[2] > 190 and max(bgr[:2]) < 10


def test_clips_travel_as_videos_of_their_own_in_plan_order_under_one_mean_rate(server):
    clips = (plain(100, 2, fps=1.0), plain(10, 2, fps=4.0))
    asking(server).answer([Question("Tell it.", clips=clips)], SAMPLING, [1])
    asked = server.questions[0]
    *videos, text = asked.content
    assert [greys(video["video_url"]["url"].partition(",")[2]) for video in videos] == [[100, 120], [10, 30]]
    assert text["text"] == "Tell it."
    assert asked.json["media_io_kwargs"] == {"video": {"num_frames": 2, "fps": 4 / 2.5, "do_sample_frames": False}}


def test_as_images_every_picture_is_a_part_and_clips_are_told_apart_in_words(server):
    one = Question("Tell it.", plain(40, 2))
    several = Question("Tell it.", clips=(plain(10), plain(90)))
    asking(server, frames_as="images").answer([one, several], SAMPLING, [1, 2])
    contents = {request.json["seed"]: request.content for request in server.questions}
    assert [part["type"] for part in contents[1]] == ["image_url", "image_url", "text"]
    assert [part.get("text", part["type"]) for part in contents[2]] == [
        "Clip 1:", "image_url", "Clip 2:", "image_url", "Tell it."
    ]  # fmt: skip
    head, _, data = contents[2][3]["image_url"]["url"].partition(",")
    assert (head, greys(data)) == ("data:image/jpeg;base64", [90])
    assert all("media_io_kwargs" not in request.json for request in server.questions)


def test_a_question_without_pictures_is_plain_text_and_no_penalty_is_not_said(server):
    asking(server).answer([Question("List.")], replace(SAMPLING, repetition_penalty=1.0), [1])
    (request,) = server.questions
    assert request.content == "List."
    assert not {"repetition_penalty", "media_io_kwargs"} & request.json.keys()


def test_answers_come_in_the_order_of_the_questions_and_no_more_are_out_than_allowed(server):
    together = threading.Barrier(3)

    def trouble(n: int, request: object) -> None:
        """The first three wait for each other."""
        if n < 3:
            together.wait(60)

    server.trouble = trouble
    server.slow_s = 0.02
    llm = asking(server, at_once=3)
    questions = [Question(f"Question {i}.") for i in range(12)]
    answers = llm.answer(questions, SAMPLING, list(range(12)))
    said = {request.content: server.said(request.body) for request in server.questions}
    assert [answer.text for answer in answers] == [said[question.text] for question in questions]
    assert server.most_at_once == 3


def test_an_answer_cut_off_at_the_limit_is_kept_as_such_and_one_ended_otherwise_is_refused(server):
    server.finish = "length"
    assert asking(server).answer([Question("Tell.")], SAMPLING, [1])[0].finish == "length"
    for finish in ("content_filter", "tool_calls", None):
        server.finish = finish
        with pytest.raises(QuestionRefused, match=str(finish)):
            asking(server).answer([Question("Tell.")], SAMPLING, [1])


# -- what goes wrong -------------------------------------------------------------------------------------------------

BUSY = Fault(429, headers={"Retry-After": "0"})


@pytest.mark.parametrize(
    "fault", [BUSY, Fault(503), Fault(500), Fault(408), Fault(broken="drop"), Fault(broken="cut")], ids=str
)
def test_what_may_pass_is_tried_again(server, fault):
    server.trouble = lambda n, request: fault if n < 3 else None
    (answer,) = asking(server).answer([Question("Tell.")], SAMPLING, [1])
    assert answer.text == server.said(server.questions[0].body)
    assert len(server.questions) == 4


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (BUSY, ServerAway),
        (Fault(broken="drop"), ServerAway),
        (Fault(500), QuestionRefused),
        (Fault(broken="cut"), QuestionRefused),
    ],
    ids=str,
)
def test_what_does_not_pass_ends_after_as_many_tries_as_there_are_waits(server, fault, error):
    server.trouble = lambda n, request: fault
    with pytest.raises(error):
        asking(server).answer([Question("Tell.")], SAMPLING, [1])
    assert len(server.questions) == 1 + len(NO_WAITS)


def test_waits_grow_with_chance_and_a_server_that_names_its_pause_is_obeyed(server):
    waited: list[float] = []
    server.trouble = lambda n, request: Fault(503, headers={"Retry-After": "7"}) if n == 0 else Fault(503)
    line = server_line.Line(server.url, waits_s=(1.0, 2.0, 4.0), sleep=waited.append)
    with pytest.raises(ServerAway):
        line.post("/chat/completions", b"{}")
    assert waited[0] == 7
    assert 1.0 <= waited[1] <= 2.0 and 2.0 <= waited[2] <= 4.0


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault(401), ServerRefused, "wants a key: 401 told to fail. Set TEMPO_SERVER_KEY"),
        (Fault(404), ServerRefused, "does not know /chat/completions or the model"),
        (Fault(400, b'{"error": {"message": "At most 1 video(s)"}}'), QuestionRefused, "400 At most 1 video"),
        (Fault(413, b"<html>too large</html>"), QuestionRefused, "413 <html>too large</html>"),
        (Fault(405, b""), ServerRefused, "refuses POST"),
        (Fault(307, headers={"Location": "http://elsewhere/v1"}), ServerRefused, "redirects to http://elsewhere/v1"),
        (Fault(200, b"{}"), ServerRefused, "not as an OpenAI-compatible server"),
        (Fault(200, b'{"choices": [{"message": "hi"}]}'), ServerRefused, "not as an OpenAI-compatible server"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_at_once_in_the_servers_words(server, fault, error, words):
    server.trouble = lambda n, request: fault
    with pytest.raises(error) as told:
        asking(server).answer([Question("Tell.")], SAMPLING, [1])
    assert words in str(told.value)
    assert len(server.questions) == 1


def test_a_redirect_is_not_followed(server):
    with answering() as other:
        server.trouble = lambda n, request: Fault(302, headers={"Location": f"{other.url}/models"})
        with pytest.raises(ServerRefused, match="not followed"):
            asking(server).check()
        assert other.requests == []


def test_the_key_goes_into_the_header_and_nowhere_else_even_when_the_server_repeats_it(server, monkeypatch, tmp_path):
    monkeypatch.setenv(servers.KEY, KEY)
    llm = asking(server, tmp_path / "log")
    llm.check()
    llm.answer([Question("Tell.")], SAMPLING, [1])
    assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert KEY.encode() not in server.questions[0].body + (tmp_path / "log").read_bytes()
    assert KEY not in json.dumps(llm.backend)
    server.trouble = lambda n, request: Fault(401, json.dumps({"error": {"message": f"bad key {KEY}"}}).encode())
    with pytest.raises(ServerRefused, match=r"refuses the key: 401 bad key \*\*\*") as told:
        llm.answer([Question("Other.")], SAMPLING, [1])
    assert KEY not in str(told.value)


@pytest.mark.parametrize("key", ["line\nbreak", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(monkeypatch, key):
    monkeypatch.setenv(servers.KEY, key)
    with pytest.raises(ServerRefused) as told:
        servers.key()
    assert key not in str(told.value)


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        (" HTTPS://Models.Example.org/v1/ ", "https://models.example.org/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://gpu7:30000", "http://gpu7:30000"),
    ],
)
def test_an_address_has_one_spelling(typed, url):
    assert servers.checked_url(typed) == url
    assert servers.checked_url(url) == url


@pytest.mark.parametrize(
    "typed",
    ["", "127.0.0.1:8000", "file:///etc/passwd", "gopher://h/v1", "http://", "http://h:99999/v1", "http://h/v1?key=1",
     "http://me@h/v1", "http://me:pw@h/v1", "http://h/v1#x", "http://h/v 1", "http://h/v1\nX: y", "http://[::1/v1",
     "http://h/v1/chat/completions"],
)  # fmt: skip
def test_what_is_no_plain_address_of_a_server_is_refused(typed):
    with pytest.raises(ServerRefused, match="Write it like"):
        servers.checked_url(typed)


def test_a_secret_in_an_address_is_not_repeated():
    with pytest.raises(ServerRefused) as told:
        servers.checked_url("https://me:hunter2@h/v1")
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "here"),
    [("http://127.0.0.1:1/v1", True), ("http://127.8.9.1/v1", True), ("http://[::1]/v1", True),
     ("http://localhost/v1", True), ("http://192.168.0.7/v1", False), ("https://api.example.org/v1", False),
     ("http://localhost.example.org/v1", False)],
)  # fmt: skip
def test_which_addresses_stay_on_this_machine(url, here):
    assert servers.on_this_machine(url) is here


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254"])
def test_where_clouds_keep_their_keys_is_no_server(address):
    assert server_line._link_local(address)
    assert not server_line._link_local("127.0.0.1")


# -- who answers ------------------------------------------------------------------------------------------------------


def test_the_fingerprint_changes_with_the_address_the_name_and_what_the_server_loaded(server):
    first = asking(server).check()
    assert len(first) == 64 and first == asking(server).check()
    server.models = ({"id": MODEL, "root": "files/another"},)
    assert asking(server).check() != first


def test_a_name_that_the_server_does_not_have_is_told_with_those_it_has(server):
    server.models = ({"id": "a"}, {"id": "b"})
    with pytest.raises(ServerRefused, match=rf"serves no model '{MODEL}'. It serves: a, b"):
        asking(server).check()


def test_a_server_that_is_not_there_is_told_after_one_look():
    with answering() as state:
        gone = state.url
    slept: list[float] = []
    line = server_line.Line(gone, sleep=slept.append)
    with pytest.raises(ServerAway, match="cannot be reached"):
        line.get("/models")
    assert slept == []


@pytest.mark.parametrize(("asked_on", "n_asked"), [("video", 2), ("captions", 2), ("clips", 3)])
def test_small_questions_show_that_the_pictures_arrive(server, asked_on, n_asked):
    assert asking(server).check_questions(replace(SAMPLING, input=asked_on))
    assert [request.json["max_tokens"] for request in server.questions] == [1] * n_asked


@pytest.mark.parametrize("frames_as", ["video", "images"])
def test_a_server_that_loses_the_pictures_without_a_word_is_found_out(server, frames_as):
    server.sees = False
    with pytest.raises(VideoLost, match="does not see the pictures"):
        asking(server, frames_as=frames_as).check_questions(SAMPLING)


def test_a_setting_that_the_server_does_not_know_is_told_before_the_first_question(server):
    server.trouble = lambda n, request: (
        Fault(400, b'{"error": {"message": "Unknown parameter: repetition_penalty"}}')
        if "repetition_penalty" in request.json else None
    )  # fmt: skip
    with pytest.raises(QuestionRefused, match="Unknown parameter: repetition_penalty"):
        asking(server).check_questions(SAMPLING, pictures=False)
    server.counts = True
    assert asking(server).check_questions(replace(SAMPLING, repetition_penalty=1.0), pictures=False)
    assert server.questions[-1].content == "Describe this."


def test_a_server_that_counts_nothing_cannot_be_checked_and_says_so(server):
    server.counts = False
    assert not asking(server).check_questions(SAMPLING)
    assert asking(server).answer([Question("Tell.")], SAMPLING, [1])[0].n_tokens == 0


# -- nothing is asked twice -------------------------------------------------------------------------------------------


def test_what_was_answered_before_a_failure_is_not_asked_again(server, tmp_path):
    questions = [Question(f"Question {i}.") for i in range(20)]
    server.trouble = lambda n, request: Fault(broken="drop") if "Question 13." in request.content else None
    with pytest.raises(ServerAway):
        asking(server, tmp_path / "log", at_once=4).answer(questions, SAMPLING, range(20))
    server.rest()
    known, asked_before = set(server.answered), len(server.requests)
    assert 8 <= len(known) < 20
    server.trouble = lambda n, request: None
    answers = asking(server, tmp_path / "log").answer(questions, SAMPLING, range(20))
    again = {request.body for request in server.requests[asked_before:]}
    assert not again & known and len(again) == 20 - len(known)
    assert len({answer.text for answer in answers}) == 20


def test_a_line_broken_off_by_a_kill_costs_its_own_answer_only(tmp_path):
    path = tmp_path / "log"
    log = AnswerLog(path)
    answers = {b"one": Answer("eins", 1, "stop"), b"two": Answer('zw"ei\n', 2, "length")}
    for question, answer in answers.items():
        log.keep(question, answer)
    path.write_bytes(path.read_bytes()[:-9])
    after = AnswerLog(path)
    assert (after.get(b"one"), after.get(b"two")) == (answers[b"one"], None)
    after.keep(b"three", Answer("drei", 3, "stop"))
    assert AnswerLog(path).get(b"three") == Answer("drei", 3, "stop")
    after.done()
    assert not path.exists() and AnswerLog(path).get(b"one") is None


def test_asking_a_server_brings_no_torch():
    code = "import sys; from tempo_core import video_llms; from tempo_core.servers import Server; "
    code += "video_llms.connect(Server('http://127.0.0.1:1/v1', 'm')); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
    assert video_llms.connect(Server("http://127.0.0.1:1/v1", "m")).name == "m"
