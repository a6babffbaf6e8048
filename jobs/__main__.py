"""Every button without a browser: `python -m jobs --help`."""

from __future__ import annotations

import argparse
import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from tempo_core.errors import TempoError
from tempo_core.experiments import CONTROLS
from tempo_core.recipes import PACINGS, PRESETS, RECIPES
from tempo_core.servers import FRAMES_AS, KEY
from tempo_core.settings import EMBEDDED_MODEL
from tempo_core.types import KINDS_OF_INPUT

_EXAMPLES = """
from a folder of videos to a trained and evaluated model:
  python -m jobs scan ~/videos
  python -m jobs pair --model ~/models/Qwen2.5-VL-7B-Instruct
  python -m jobs accept --levels 1,2,3
  python -m jobs freeze
  python -m jobs train --recipe dpo --model ~/models/Qwen2.5-VL-7B-Instruct
  python -m jobs evaluate --run 1
  python -m jobs export-model 1 --form merged --out ~/models/mine

exit codes: 0 done, 1 the job failed, 2 bad usage or input, 3 cancelled or not done, 130 Ctrl-C (cancels the job)
everything is kept in TEMPO_HOME (default: .tempo in this folder)
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    args = parser().parse_args(argv)
    if args.command != "run":  # which has a log of its own
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # By name, and only now: a child or a worker must not wait for what the other commands import.
    module, _, function = args.does.rpartition(".")
    try:
        code: int = getattr(import_module(module), function)(args)
        return code
    except TempoError as error:
        print(f"{parser().prog} {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    whole = argparse.ArgumentParser(
        "python -m jobs",
        description="TEMPO Studio without a browser.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    making = (_draw, _scan, _judge, _relink, _copies, _captions, _pair, _accept, _freeze, _sft, _train, _evaluate)
    leaving = (_export, _export_model, _bundle, _bring_back, _paper, _export_clip)
    for fill in (*making, _experiment, _import, *leaving, _care, _others):
        fill(add)
    return whole


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def _command(
    add: Commands, name: str, does: str, words: str, example: str = "", job: bool = True
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = add.add_parser(
        name,
        help=words,
        description=words[0].upper() + words[1:] + ".",
        epilog=f"example: python -m jobs {example}" if example else None,
    )
    made.set_defaults(does=does)
    if job:
        made.add_argument("--no-wait", action="store_true", help="only queue it, print its number and return")
        made.add_argument("--quiet", action="store_true", help="show the progress without the log")
    return made


def _draw(add: Commands) -> None:
    made = _command(add, "draw", "jobs.commands.draw", "draw videos of the embedded world", "draw --videos 50")
    made.add_argument("--videos", type=int, default=300, metavar="N", help="how many (default 300)")
    _seed(made)


def _scan(add: Commands) -> None:
    example = "scan ~/videos --set min_clips=3 --set max_shot_s=20"
    made = _command(add, "scan", "jobs.commands.scan", "find shots and clips in a folder of videos", example)
    made.add_argument("folder", help="all videos in it and below")
    made.add_argument("--library", metavar="NAME", help="the name it is shown under (default: the folder's)")
    made.add_argument("--processes", type=int, default=0, metavar="N", help="videos at once (default: one per core)")
    _set(made, "a threshold of temporal richness")


def _judge(add: Commands) -> None:
    example = "judge --set likeness=0.8 --set min_clips=3"
    what = "judge scanned videos again under other thresholds, from what was measured"
    made = _command(add, "judge", "jobs.commands.judge", what, example)
    made.add_argument("--videos", type=_numbers, default=(), metavar="ID,ID", help="only these")
    made.add_argument("--dry-run", action="store_true", help="only count what would change")
    _set(made, "a threshold of temporal richness")


def _relink(add: Commands) -> None:
    example = "relink /data/videos /mnt/disk2/videos"
    made = _command(add, "relink", "jobs.commands.relink", "find the videos of a folder that moved", example)
    made.add_argument("old", help="where they were seen")
    made.add_argument("new", help="the folder that holds them now, in it or below")


def _copies(add: Commands) -> None:
    made = _command(add, "copies", "jobs.commands.copies", "look for the same footage in several files", "copies")
    made.add_argument("--likeness", type=float, default=0.8, metavar="X", help="share of the shorter that must agree")


def _pair(add: Commands) -> None:
    example = "pair --model ~/models/Qwen2.5-VL-7B-Instruct --limit 20 --set temperature=0.7"
    made = _command(add, "pair", "jobs.commands.pair", "ask a model on clean and on perturbed videos", example)
    _model(made)
    made.set_defaults(model=None)
    _server(made)
    asked_on = "captions of the clips (default), each clip as a video of its own, or the whole video"
    made.add_argument("--input", choices=KINDS_OF_INPUT, default="captions", help=asked_on)
    what = "use the captions of this set (see captions) instead of asking for them"
    made.add_argument("--captions-from", type=int, metavar="ID", help=what)
    kinds = ("drop", "shuffle", "reverse")
    made.add_argument("--kinds", type=_names, default=kinds, metavar="A,B", help="perturbations (default: all)")
    made.add_argument("--magnitudes", type=_numbers, default=(2, 4, 8, 16), metavar="N,M", help="how strong, 2 or more")
    made.add_argument("--law", choices=("tempo", "authors"), default="tempo", help="how plans are drawn")
    made.add_argument("--limit", type=int, metavar="N", help="at most this many videos")
    made.add_argument("--videos", type=_numbers, default=(), metavar="ID,ID", help="only these")
    what = "ask for the whole video so; may be repeated (default: the prompts of the settings, else the model's own)"
    made.add_argument("--phrasing", action="append", default=[], metavar="PROMPT", help=what)
    _seed(made)
    _set(made, "a sampling setting")


def _server(made: argparse.ArgumentParser) -> None:
    what = f"or an OpenAI-compatible server, like http://127.0.0.1:8000/v1; its key, if it wants one, in {KEY}"
    made.add_argument("--server", metavar="URL", help=what)
    made.add_argument("--served-model", default="", metavar="NAME", help="the model's name at that server")
    what = "send each video as one list of pictures with its rate (default), or single pictures without times"
    made.add_argument("--frames-as", choices=FRAMES_AS, default="video", help=what)


def _captions(add: Commands) -> None:
    example = "captions segments.jsonl --videos ~/videos"
    what = "read in captions that came with videos, for pair --captions-from"
    made = _command(add, "captions", "jobs.commands.captions", what, example, job=False)
    what = "JSONL or CSV with video, start_s, end_s, caption, or LLaVA-Video-178K's JSON"
    made.add_argument("file", help=what)
    made.add_argument("--videos", metavar="FOLDER", help="where its video names begin (default: the file's folder)")
    made.add_argument("--name", help="what the set is called (default: the file's name)")
    made.add_argument("--skip-missing", action="store_true", help="leave out videos that were not scanned")


def _accept(add: Commands) -> None:
    example = "accept --kinds shuffle,reverse --levels 1,2"
    what = "accept all pending pairs of a filter, recorded as bulk"
    made = _command(add, "accept", "jobs.commands.accept", what, example, job=False)
    made.add_argument("--dry-run", action="store_true", help="only count them")
    made.add_argument("--note", help="why, kept with every review")
    _filter(made)


def _freeze(add: Commands) -> None:
    example = "freeze demo --held-out 0.2"
    what = "fix the accepted pairs as a dataset version"
    made = _command(add, "freeze", "jobs.freezing.freeze", what, example, job=False)
    made.add_argument("name", nargs="?", default="pairs", help="its name; versions are numbered (default: pairs)")
    made.add_argument("--held-out", type=float, default=0.2, metavar="SHARE", help="videos kept for evaluation (0.2)")
    made.add_argument("--view", metavar="NAME", help="of a saved view of the Pairs page, instead of a filter")
    made.add_argument("--curriculum", metavar="NAME", help="with the levels of a saved curriculum (or its number)")
    made.add_argument("--dry-run", action="store_true", help="only say what it would hold")
    _seed(made)
    _filter(made)


def _sft(add: Commands) -> None:
    example = "sft conversations.jsonl --videos ~/videos"
    what = "import conversations about scanned videos (LLaVA's JSONL) as an SFT set"
    made = _command(add, "sft", "jobs.commands.sft", what, example, job=False)
    made.add_argument("file", help='one {"id", "video", "conversations": [{"from", "value"}, ...]} a line')
    made.add_argument("--videos", metavar="FOLDER", help="where its video paths begin (default: the file's folder)")
    made.add_argument("--name", help="what the set is called (default: the file's name)")
    made.add_argument("--skip-missing", action="store_true", help="leave out videos that were not scanned")
    what = "leave out the videos that this dataset version holds out"
    made.add_argument("--without-held-out", type=int, metavar="VERSION", help=what)


def _train(add: Commands) -> None:
    example = "train 1 --recipe dpo_sft --preset embedded --set dpo_epochs=2"
    made = _command(add, "train", "jobs.commands.train", "train a model on a frozen dataset version", example)
    made.add_argument("version", nargs="?", type=int, help="the dataset version (default: the newest)")
    made.add_argument("--resume", type=int, metavar="RUN", help="go on with a stopped or failed run instead")
    _model(made)
    made.add_argument("--recipe", choices=tuple(RECIPES), help="the phases, in order (default: dpo_sft)")
    made.add_argument("--preset", choices=tuple(PRESETS), help="all other numbers (default: what fits the model)")
    made.add_argument("--pacing", choices=PACINGS, help="the order of the levels (default: the preset's)")
    made.add_argument("--sft-set", type=int, metavar="ID", help="for phases of SFT (default: the drawn world's)")
    made.add_argument("--skip-small", action="store_true", help="leave out levels with fewer pairs than one step")
    made.add_argument("--smaller-step", action="store_true", help="or take smaller steps where a level is small")
    made.add_argument("--ranks", type=int, default=1, metavar="N", help="processes that train together, one a GPU")
    made.add_argument("--elsewhere", action="store_true", help="only make the run, to bundle it and train it elsewhere")
    made.add_argument("--estimate", action="store_true", help="only say what it would take: time, memory and disk")
    made.add_argument("--name", default="", help="what the run is called")
    made.add_argument("--seed", type=int, help="of everything that is drawn (default: 0)")
    _set(made, "any number of the run")


def _evaluate(add: Commands) -> None:
    example = "evaluate --model ~/models/Qwen2.5-VL-7B-Instruct --benchmarks tempcompass --data ~/benchmarks"
    made = _command(add, "evaluate", "jobs.commands.evaluate", "score a run or a model", example)
    made.add_argument("--run", type=int, metavar="ID", help="the run whose model is scored, after each of its phases")
    made.add_argument("--model", metavar="FOLDER", help="or a model's folder")
    which = "drawn_world, held_out_preference, own_order, order_sensitivity, short_answers, canary (on held-out "
    which += "videos); with --data also tempcompass, vinoground, tvbench, mvbench, tomato, vitatecs, next_qa, mlvu, "
    which += "video_mme (default: all that are there)"
    made.add_argument("--benchmarks", type=_names, default=(), metavar="A,B", help=which)
    what = "official annotation files and videos, in it, in a folder of the benchmark's name, or below"
    made.add_argument("--data", metavar="FOLDER", help=f"{what}; nothing is downloaded")
    made.add_argument("--pictures", type=int, default=16, metavar="N", help="of each video of --data (default 16)")
    what = "score a run also on videos that it was trained on; the score says so"
    made.add_argument("--allow-contaminated", action="store_true", help=what)
    made.add_argument("--every-stage", action="store_true", help="measure a run also between the stages of a phase")
    made.add_argument("--limit", type=int, metavar="N", help="at most this many questions of each")
    which = "who asks: this studio, or lmms-eval in the environment that TEMPO_LMMS_EVAL_PYTHON names"
    made.add_argument("--engine", choices=("tempo", "lmms-eval"), default="tempo", help=which)
    made.add_argument("--tasks", type=_names, default=(), metavar="A,B", help="of lmms-eval, by its names")
    what = "results that lmms-eval wrote elsewhere (--output_path, with --log_samples), for the run's last moment"
    made.add_argument("--import", dest="results", metavar="FOLDER", help=what)
    _seed(made)


def _experiment(add: Commands) -> None:
    example = "experiment first --recipes dpo_sft,sft_dpo --pacings strict,mixed --seeds 0,1,2"
    what = "queue recipes x orders x seeds with their controls, or look at such an experiment"
    made = _command(add, "experiment", "jobs.experiment_commands.experiment", what, example, job=False)
    made.add_argument("name", help="what it is called")
    made.add_argument("version", nargs="?", type=int, help="the dataset version (default: the newest)")
    _model(made)
    made.add_argument("--recipes", type=_names, metavar="A,B", help="the first is the reference (default: dpo_sft)")
    made.add_argument("--pacings", type=_names, metavar="A,B", help="orders, likewise (default: the preset's)")
    made.add_argument("--seeds", type=_numbers, default=(0, 1, 2), metavar="N,M", help="(default: 0,1,2)")
    made.add_argument("--controls", type=_names, metavar="A,B", help=f"{', '.join(CONTROLS)} (default: all; '' = none)")
    made.add_argument("--preset", choices=tuple(PRESETS), help="all other numbers (default: what fits the model)")
    made.add_argument("--sft-set", type=int, metavar="ID", help="for phases of SFT (default: the drawn world's)")
    made.add_argument("--benchmarks", type=_names, default=(), metavar="A,B", help="default: those on held-out videos")
    made.add_argument("--data", metavar="FOLDER", help="of benchmarks that ask about files")
    made.add_argument("--limit", type=int, metavar="N", help="at most this many questions of each benchmark")
    _set(made, "any number of the runs")
    acts = made.add_mutually_exclusive_group()
    acts.add_argument("--dry-run", action="store_true", help="only say what it would train")
    acts.add_argument("--table", action="store_true", help="of the experiment of this name: its figures")
    acts.add_argument("--cancel", action="store_true", help="take back its runs that wait")
    acts.add_argument("--resume", action="store_true", help="queue what failed, was cancelled or is not measured")


def _import(add: Commands) -> None:
    example = "import ~/pairs/train.jsonl --videos ~/videos --dry-run"
    what = "take pairs of another tool, or of another studio, into the review queue"
    made = _command(add, "import", "jobs.commands.import_pairs", what, example)
    made.add_argument("place", metavar="FILE_OR_FOLDER", help=".jsonl, .json or .parquet, or a folder with such files")
    which = "ms_swift, ms_swift_rejected_video, llama_factory, trl, rrpo, hound or hub (default: by its keys)"
    made.add_argument("--format", metavar="F", help=which)
    what = "where its video paths begin (default: names are looked up in the library)"
    made.add_argument("--videos", metavar="FOLDER", help=what)
    made.add_argument("--dry-run", action="store_true", help="only say what would come in, and why the rest would not")
    made.add_argument("--skip-missing", action="store_true", help="leave out pairs whose video is not in the library")


def _export(add: Commands) -> None:
    what = "write a dataset version for other tools"
    made = _command(add, "export", "jobs.commands.export", what, "export 1 --format hub")
    made.add_argument("version", type=int, help="the dataset version")
    forms = "ms_swift, ms_swift_rejected_video, trl, llama_factory or hub (default ms_swift)"
    made.add_argument("--format", default="ms_swift", metavar="F", help=forms)
    made.add_argument("--licence", default="other", help="of the data set, for its card (default: other)")
    made.add_argument("--videos-from", default="", metavar="TEXT", help="where the videos come from, for the card")
    made.add_argument("--to", metavar="FOLDER", help="default: a folder below TEMPO_HOME/exports")


def _export_model(add: Commands) -> None:
    example = "export-model 1 --form merged --out ~/models/my-model"
    what = "write a run's model with its card"
    made = _command(add, "export-model", "jobs.commands.export_model", what, example)
    made.add_argument("run", type=int, help="the run")
    which = "its adapters alone (default), or one merged model"
    made.add_argument("--form", choices=("adapter", "merged"), default="adapter", help=which)
    made.add_argument(
        "--out", metavar="DIR", help="a folder that does not exist yet (default: below TEMPO_HOME/exports)"
    )
    made.add_argument("--max-shard-size", default="5GB", metavar="SIZE", help="of the files of a merged model (5GB)")


def _bundle(add: Commands) -> None:
    example = "bundle 1 --out ~/run-1"
    what = "write all that trains a waiting run elsewhere, without studio, database and videos"
    made = _command(add, "bundle", "jobs.commands.bundle", what, example)
    made.add_argument("run", type=int, help="a run that is not trained yet; it leaves the queue")
    made.add_argument(
        "--out", metavar="FOLDER", help="a folder that does not exist yet (default: below TEMPO_HOME/exports)"
    )


def _bring_back(add: Commands) -> None:
    example = "bring-back ~/run-1"
    what = "take in the result of a run that was trained from its bundle"
    made = _command(add, "bring-back", "jobs.commands.bring_back", what, example)
    made.add_argument("folder", help="the bundle with its result/, or the result alone")


def _paper(add: Commands) -> None:
    example = "paper --runs 1,2 --out ~/paper"
    what = "write figures, tables, settings and a methods section about runs"
    made = _command(add, "paper", "jobs.commands.paper", what, example)
    made.add_argument("--runs", type=_numbers, required=True, metavar="ID,ID", help="runs with a finished stage")
    made.add_argument("--out", metavar="FOLDER", help="default: a new folder below TEMPO_HOME/exports")


def _export_clip(add: Commands) -> None:
    example = "export-clip 12 --side rejected --out rejected.mp4"
    what = "write the video of one side of a pair, with the numbers of its clips"
    made = _command(add, "export-clip", "jobs.clips.export_clip", what, example, job=False)
    made.add_argument("pair", type=int, help="the pair's id")
    which = "the order that the answer was given on (default: rejected)"
    made.add_argument("--side", choices=("chosen", "rejected", "both"), default="rejected", help=which)
    made.add_argument("--out", required=True, metavar="FILE", help="a new .mp4 or .gif")
    made.add_argument("--no-titles", action="store_true", help="without the numbers")


def _care(add: Commands) -> None:
    what = "write the whole database into one file, beside whoever works"
    made = _command(add, "backup", "jobs.care.make_backup", what, "backup --to /mnt/disk2/tempo.db", job=False)
    made.add_argument("--to", metavar="FILE", help="a new file (default: in TEMPO_HOME/backups)")
    what = "bring a backup back, or list the backups"
    made = _command(add, "restore", "jobs.care.restore", what, "restore /mnt/disk2/tempo.db --yes", job=False)
    made.add_argument("file", nargs="?", metavar="FILE", help="without it the backups are listed")
    made.add_argument("--yes", action="store_true", help="do it; without it only what would be lost is told")
    what = "bring the studio from its SQLite file into the empty Postgres database that TEMPO_DATABASE_URL names"
    _command(add, "move", "jobs.care.move", what, job=False)
    what = "read every row and file on disk and compare them with what was written"
    made = _command(add, "check", "jobs.care.check", what, "check --deep", job=False)
    made.add_argument("--deep", action="store_true", help="also the sha256 of every adapter, checkpoint and export")


def _others(add: Commands) -> None:
    made = _command(add, "setup", "jobs.commands.setup", "make the database and the embedded demo", job=False)
    made.add_argument("--videos", type=int, default=300, metavar="N", help="how many to draw (default 300)")
    _command(add, "worker", "jobs.worker.work", "look after the queue until stopped; jobs outlive it", job=False)
    _command(add, "doctor", "jobs.doctor.check", "check what this machine offers and what is missing", job=False)
    made = _command(add, "jobs", "jobs.commands.show_jobs", "list jobs, or show one with the end of its log", job=False)
    made.add_argument("id", nargs="?", type=int)
    made.add_argument("-n", type=int, default=20, help="how many (default 20)")
    made = _command(add, "cancel", "jobs.commands.cancel", "stop a job; a running one saves first", job=False)
    made.add_argument("id", type=int)
    made = _command(add, "run", "jobs.child.run", "one attempt at a job; only the worker calls this", job=False)
    made.add_argument("id", type=int)


def _model(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--model", default=str(EMBEDDED_MODEL), metavar="FOLDER", help="a checkpoint (default: the embedded model)"
    )


def _seed(made: argparse.ArgumentParser) -> None:
    made.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default 0)")


def _set(made: argparse.ArgumentParser, what: str) -> None:
    made.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=f"{what}; may be repeated")


def _filter(made: argparse.ArgumentParser) -> None:
    made.add_argument("--kinds", metavar="A,B", help="drop, shuffle, reverse, imported")
    made.add_argument("--magnitudes", metavar="N,M", help="2, 4, 8, 16")
    made.add_argument("--levels", metavar="N,M", help="1 (easiest) to 4")
    made.add_argument("--difficulty", metavar="LOW,HIGH", help="measured, 0 to 1")
    made.add_argument("--search", metavar="WORDS", help="in the question and both answers")
    made.add_argument("--video-id", metavar="ID")
    made.add_argument("--model-id", metavar="ID", help="the model that answered")
    made.add_argument("--rule", metavar="NAME", help="pairs that failed this filter rule")
    made.add_argument("--axis", choices=("measured", "paper"), help="what orders the levels (default: measured)")
    made.add_argument("--thresholds", metavar="A,B,C", help="between the levels, 0 to 1 (default: .25,.5,.75)")


def _names(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _numbers(value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is no list of whole numbers, such as 1,2") from None


if __name__ == "__main__":
    raise SystemExit(main())
