"""What every launcher promises: an attempt is started once, can be found again, and ends with all its processes.

Ray runs in a cluster of two nodes on this machine, where `requirements-ray.txt` is installed; Slurm's four commands are
stood in for by shell scripts that run what they are given (benchmarks/clusters/slurm).
"""

import contextlib
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks import launchers as measured
from benchmarks.clusters import ray_nodes
from db import jobs
from jobs import doctor, launch, launchers, processes
from jobs.launchers import ray
from jobs.launchers import slurm as slurms
from jobs.launchers.base import LauncherAway, LauncherRefused, Resources
from tempo_core.errors import TempoError
from tempo_core.settings import Home
from tests.answering import Fault, answering

STUBS = Path(__file__).parent.parent.parent / "benchmarks" / "clusters" / "slurm"
HANG_S = 300
"""Nothing here takes as long; it only keeps a fault from hanging the suite."""
CPU = Resources("cpu:0")
SAVES = "trap 'echo saved; exit 5' TERM; echo began; while :; do sleep 0.05; done"
RAY = pytest.param(
    "ray",
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
    ],
)
EVERY, WITH_A_QUEUE = ["local", "slurm", RAY], ["slurm", RAY]


@pytest.fixture(scope="module")
def ray_cluster():
    with ray_nodes.two() as seen:
        yield seen


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The folder in which the stand-ins keep their jobs."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    monkeypatch.setenv("PATH", f"{STUBS}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def place(request, tmp_path, monkeypatch):
    """A launcher by name, and the attempts that a test starts with it."""
    name = request.param
    if name == "slurm":
        request.getfixturevalue("slurm")
    if name == "ray":
        for key, value in request.getfixturevalue("ray_cluster").items():
            monkeypatch.setenv(key, value)
    place = Place(name, Home(tmp_path).make())
    yield place
    for handle in place.started:
        place.launcher.stop(handle, 0)


class Place:
    def __init__(self, name, home):
        self.home, self.launcher, self.started = home, launchers.named(name, home), []

    def start(self, argv, job_id=1, resources=CPU):
        handle = f"tempo-{job_id}-1-{os.getpid():x}{abs(hash(str(self.home.root))):x}"
        ticket = {processes.TICKET: f"{job_id}.1.token", processes.HOME: str(self.home.root)}
        self.launcher.start(handle, argv, resources, ticket)
        self.started.append(handle)
        return handle

    def shell(self, script, **more):
        return self.start(["sh", "-c", script], **more)

    def until(self, condition):
        end_s = time.monotonic() + HANG_S
        while time.monotonic() < end_s:
            if value := condition():
                return value
            time.sleep(0.02)
        pytest.fail(f"nothing happened in {HANG_S} s")

    def until_it_is(self, state, handle):
        self.until(lambda: self.launcher.alive(handle) == state)

    def living(self, job_id=1):
        found = processes.of_job(self.home.root, job_id)
        return [process.pid for process in found if processes.started(process.pid)]

    def ranks(self):
        """Those of torchrun's; a process that is looked at may just become another program or end."""
        found = []
        for process in processes.of_job(self.home.root, 1):
            with contextlib.suppress(psutil.Error):
                found += [process.pid] * ("LOCAL_RANK" in process.environ())
        return found


@pytest.mark.parametrize("place", EVERY, indirect=True)
def test_an_attempt_that_is_started_twice_runs_once(place):
    script = "echo began; exec sleep 300"
    handle = place.shell(script)
    assert place.shell(script) == handle
    place.until(lambda: place.launcher.log(handle, 0)[0])
    heir = launchers.named(place.launcher.name, place.home)
    heir.start(handle, ["sh", "-c", script], CPU, {})
    place.until_it_is("running", handle)
    assert heir.alive(handle) == "running"
    # One that is started now prints after what a second start would have printed.
    after = place.shell("echo after", job_id=2)
    place.until(lambda: place.launcher.log(after, 0)[0])
    assert place.launcher.log(handle, 0)[0] == b"began\n"


@pytest.mark.parametrize("place", EVERY, indirect=True)
def test_an_attempt_is_gone_once_it_ended_and_what_nobody_started_always_was(place):
    assert place.launcher.alive("tempo-7-1-0") == "gone"
    place.launcher.stop("tempo-7-1-0", 0)
    handle = place.shell("echo done")
    place.until_it_is("gone", handle)
    assert place.launcher.log(handle, 0)[0] == b"done\n"


@pytest.mark.parametrize("place", WITH_A_QUEUE, indirect=True)
def test_an_attempt_without_room_is_pending_and_can_be_stopped_there(place, request):
    if place.launcher.name == "slurm":
        (request.getfixturevalue("slurm") / "full").touch()
    n_taken = 0 if place.launcher.name == "slurm" else 2
    taken = [place.shell("sleep 300", job_id=10 + number) for number in range(n_taken)]
    for other in taken:
        place.until_it_is("running", other)
    handle = place.shell("echo began; exec sleep 300")
    place.until_it_is("pending", handle)
    place.launcher.stop(handle, 5)
    for other in taken:
        # Ray tells an attempt that waits of its stop once it has room; its token is void by then.
        place.launcher.stop(other, 0)
    place.until_it_is("gone", handle)
    assert place.until(lambda: not place.living())


@pytest.mark.parametrize("place", EVERY, indirect=True)
def test_a_stop_lets_the_task_save_first(place):
    handle = place.shell("trap 'echo saved; exit' TERM; echo began; while :; do sleep 0.1; done")
    place.until(lambda: place.launcher.log(handle, 0)[0])
    place.launcher.stop(handle, HANG_S)
    assert place.launcher.alive(handle) == "gone"
    assert place.launcher.log(handle, 0)[0].splitlines()[-1] == b"saved"


@pytest.mark.parametrize("place", EVERY, indirect=True)
def test_what_does_not_listen_is_ended_with_all_its_processes(place):
    """The one in a session of its own is what torchrun makes of every rank."""
    handle = place.shell("trap '' TERM USR1; setsid sleep 300 & echo began; while :; do sleep 0.1; done")
    place.until(lambda: place.launcher.log(handle, 0)[0])
    # Until the shell, its child and the one in the other session are all seen: a short sleep comes and goes.
    place.until(lambda: len(place.living()) >= 3)
    place.launcher.stop(handle, 0.3)
    assert place.launcher.alive(handle) == "gone"
    assert place.until(lambda: not place.living())


@pytest.mark.parametrize("place", ["local", RAY], indirect=True)
def test_ranks_of_torchrun_end_with_their_attempt(place):
    rank = ["--no-python", "sh", "-c", "echo rank; exec sleep 300"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    handle = place.start([sys.executable, *torchrun, *rank])
    place.until(lambda: place.launcher.log(handle, 0)[0].count(b"rank\n") == 2)
    assert place.until(lambda: len({os.getsid(pid) for pid in place.ranks()}) == 2)
    place.launcher.stop(handle, 0)
    assert place.until(lambda: not place.living())


@pytest.mark.parametrize("place", EVERY, indirect=True)
def test_a_log_is_read_from_where_the_reader_left_off(place):
    handle = place.shell(f"echo one; until [ -e {place.home.root}/go ]; do sleep 0.05; done; echo two")
    place.until(lambda: place.launcher.log(handle, 0)[0])
    first, offset = place.launcher.log(handle, 0)
    (place.home.root / "go").touch()
    place.until_it_is("gone", handle)
    assert (first, *place.launcher.log(handle, offset)) == (b"one\n", b"two\n", 8)


@pytest.mark.parametrize("place", EVERY, indirect=True)
def test_capacity_counts_devices_and_not_what_is_free(place):
    expected = {"local": os.cpu_count(), "slurm": 4, "ray": 2}[place.launcher.name]
    assert place.launcher.capacity()["cpu"] == expected
    place.shell("sleep 300")
    assert place.launcher.capacity()["cpu"] == expected


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_a_killed_process_is_told_with_its_signal(place):
    handle = place.shell("exec sleep 300")
    [pid] = place.until(place.living)
    os.kill(pid, signal.SIGKILL)
    place.until_it_is("gone", handle)
    assert place.launcher.exit_code(handle) == -signal.SIGKILL


# -- what is particular to one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gres", "n_gpus"), [("gpu:4", 4), ("gpu:a100:2(S:0-1)", 2), ("gpu:a100:2,gpu:h200:1", 3), ("(null)", 0)]
)
def test_slurm_tells_its_gpus_once_however_many_partitions_a_node_is_in(slurm, tmp_path, monkeypatch, gres, n_gpus):
    monkeypatch.setenv("FAKE_SLURM_GRES", gres)
    assert launchers.named("slurm", Home(tmp_path)).capacity() == {"cpu": 4, "gpu": n_gpus}


@pytest.mark.parametrize("shell", [["sh"], ["bash", "--posix"]], ids=" ".join)
@pytest.mark.parametrize(
    ("task", "sent", "code"), [("exit 0", None, 0), ("exit 3", None, 3), ("kill -9 $$", None, 137),
                               (SAVES, signal.SIGUSR1, 5), (SAVES, signal.SIGTERM, 5)],
)  # fmt: skip
def test_the_script_for_slurm_ends_as_its_task_does_and_hands_signals_on(tmp_path, shell, task, sent, code):
    """Red Hat's sh is bash, which forgets a child once it was waited for: each job would be FAILED in Slurm's lists."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not there")
    script = slurms._SCRIPT.format(command=f"sh -c {shlex.quote(task)}")
    process = subprocess.Popen([*shell, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if sent is not None:
        assert process.stdout.readline() == "began\n"
        process.send_signal(sent)
    _, told = process.communicate(timeout=HANG_S)
    assert process.returncode == code and (sent or "not a child" not in told)


def test_slurm_whose_controller_is_away_is_not_taken_for_an_end(slurm, tmp_path):
    (slurm / "down").touch()
    with pytest.raises(LauncherAway, match="Unable to contact"):
        launchers.named("slurm", Home(tmp_path)).alive("tempo-1-1-0")


def test_a_machine_without_slurm_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LauncherAway, match="squeue is not on the PATH"):
        launchers.named("slurm", Home(tmp_path)).alive("tempo-1-1-0")


def test_a_dashboard_of_ray_that_does_not_answer_is_away(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPO_RAY_ADDRESS", "http://127.0.0.1:9")
    with pytest.raises(LauncherAway, match="ray start --head"):
        launchers.named("ray", Home(tmp_path)).alive("tempo-1-1-0")


@pytest.mark.parametrize(
    "said", [Fault(404), Fault(200, b"{}"), Fault(200, b"[]"), Fault(200, b"<html>"), Fault(501)], ids=str
)
def test_what_is_no_dashboard_of_ray_is_told_as_such_and_ends_no_worker(tmp_path, monkeypatch, said):
    with answering() as server:
        server.trouble = lambda n, request: said
        monkeypatch.setenv("TEMPO_RAY_ADDRESS", server.url.removesuffix("/v1"))
        with pytest.raises(LauncherAway, match=server.url.removesuffix("/v1")):
            launchers.named("ray", Home(tmp_path)).capacity()


@pytest.mark.parametrize("address", ["http://10.0.0.5:8265", "http://ray.example:8265", "http://0.0.0.0:8265"])
def test_a_dashboard_that_others_reach_without_a_login_is_refused(tmp_path, monkeypatch, address):
    monkeypatch.setenv("TEMPO_RAY_ADDRESS", address)
    with pytest.raises(LauncherRefused, match="has no login"):
        launchers.named("ray", Home(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a token")
    launchers.named("ray", Home(tmp_path))


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "ray://127.0.0.1:10001", "file:///etc/passwd", ""])
def test_what_is_no_address_of_a_dashboard_is_refused(tmp_path, monkeypatch, address):
    monkeypatch.setenv("TEMPO_RAY_ADDRESS", address or "http://")
    with pytest.raises(LauncherRefused, match="TEMPO_RAY_ADDRESS"):
        launchers.named("ray", Home(tmp_path))


@pytest.mark.parametrize("address", ["ada:secret@db/tempo", "ada@db/tempo?sslmode=require&password=secret"])
def test_a_password_of_the_database_is_not_shown_on_rays_dashboard(monkeypatch, address):
    monkeypatch.setenv("TEMPO_DATABASE_URL", f"postgresql+psycopg://{address}")
    with pytest.raises(LauncherRefused, match="pgpass"):
        ray._environment(CPU)
    monkeypatch.setenv("TEMPO_DATABASE_URL", "postgresql+psycopg://ada@db/tempo?sslmode=require")
    assert ray._environment(CPU)["TEMPO_DATABASE_URL"].endswith("sslmode=require")


@pytest.mark.parametrize("place", [RAY], indirect=True)
def test_a_key_of_the_studio_is_not_shown_on_rays_dashboard(place, monkeypatch):
    monkeypatch.setenv("TEMPO_SERVER_KEY", "a secret")
    monkeypatch.setenv("TEMPO_LEASE_S", "14")
    handle = place.shell("echo $TEMPO_LEASE_S$TEMPO_SERVER_KEY")
    place.until_it_is("gone", handle)
    assert place.launcher.log(handle, 0)[0] == b"14\n"


def test_a_launcher_that_there_is_not_stops_the_start_with_the_names_there_are(yard, monkeypatch):
    monkeypatch.setenv("TEMPO_LAUNCHER", "kubernetes")
    with pytest.raises(TempoError, match="'kubernetes'; it is one of local, ray, slurm"):
        launch.ensure_worker(yard.database, yard.home)
    [finding] = [one for one in [doctor._launcher(yard.home)] if one.what == "launcher"]
    assert finding.level == "red"


# -- with a worker ---------------------------------------------------------------------------------------------------


def test_a_job_waits_in_the_clusters_queue_keeps_its_lease_and_goes_on_under_the_next_worker(yard, slurm, monkeypatch):
    monkeypatch.setenv("TEMPO_LAUNCHER", "slurm")
    (slurm / "full").touch()
    worker = yard.worker()
    job_id = yard.enqueue(steps=10_000, checkpoint_every=4)
    yard.until(lambda: yard.job(job_id).progress_text == "Waits for room in slurm.")
    (slurm / "full").unlink()
    pid = yard.at_step(job_id, 3).pid
    worker.kill()
    worker.wait()
    yard.worker()
    heir_s = len(yard.executed(job_id))
    yard.until(lambda: len(yard.executed(job_id)) > heir_s + 20)
    assert (yard.job(job_id).pid, yard.job(job_id).attempt, yard.twice(job_id)) == (pid, 1, 0)

    psutil.Process(pid).kill()
    assert yard.at_step(job_id, max(step for step, _ in yard.executed(job_id)) + 1, attempt=2).launcher == "slurm"
    with yard.database.session() as session:
        jobs.cancel(session, job_id)
    assert yard.ended(job_id).state == "cancelled"
    assert yard.until(lambda: not yard.orphans(job_id))


def test_a_job_that_is_cancelled_while_it_waits_for_room_never_starts(yard, slurm, monkeypatch):
    monkeypatch.setenv("TEMPO_LAUNCHER", "slurm")
    (slurm / "full").touch()
    yard.worker()
    job_id = yard.enqueue(steps=4)
    yard.until(lambda: yard.job(job_id).progress_text == "Waits for room in slurm.")
    with yard.database.session() as session:
        jobs.cancel(session, job_id)
    assert (yard.ended(job_id).state, yard.executed(job_id)) == ("cancelled", [])


def test_a_cluster_that_cannot_be_asked_costs_no_job_an_attempt(yard, slurm, monkeypatch):
    monkeypatch.setenv("TEMPO_LAUNCHER", "slurm")
    (slurm / "down").touch()
    yard.worker()
    job_id = yard.enqueue(steps=4)
    yard.until(lambda: "Unable to contact" in (yard.home.root / "worker.log").read_text())
    assert (yard.job(job_id).state, yard.job(job_id).attempt) == ("queued", 0)
    (slurm / "down").unlink()
    assert (yard.ended(job_id).state, yard.job(job_id).attempt) == ("succeeded", 1)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_two_nodes_of_ray_answer_and_train_what_this_machine_does_bit_for_bit(ray_cluster, tmp_path, monkeypatch):
    for name, value in ray_cluster.items():
        monkeypatch.setenv(name, value)
    found = measured.same(tmp_path, ray_cluster)
    assert (found["answers_equal"], found["adapters_equal"], found["ray_nodes_used"]) == (True, True, 2)
    assert found["answers"] > 20
    assert found["adapters"] == 2
