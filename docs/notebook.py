# %% [markdown]
# # TEMPO without the studio
# Choose videos, perturb them, make preference pairs and measure a model, with `tempo_core` alone: no database, no web
# page, no job. Open this file as a notebook (Jupytext, VS Code, Spyder) or run it: `python docs/notebook.py`, from the
# folder that holds `tempo_core`. Everything is small, so that it takes seconds on one core.

# %%
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, ".")

from tempo_core import benchmarks, filters, media, pairing, perturbation, scan, statistics, timeline, video_llms, worlds
from tempo_core.benchmarks.base import HeldOutVideo, Material
from tempo_core.settings import EMBEDDED_MODEL, SECOND_MODEL
from tempo_core.types import Sampling

folder = Path(tempfile.mkdtemp(prefix="tempo-"))

# %% [markdown]
# ## Videos
# Eight drawn videos whose events are known. With your own, list their files here: nothing below needs to know what
# happens in them, but the benchmark at the end does.

# %%
for index in range(8):
    worlds.write(worlds.spec(seed=0, index=index), folder / f"{index}.mp4")
paths = sorted(folder.glob("*.mp4"))
print(worlds.caption(worlds.spec(seed=0, index=0)))

# %% [markdown]
# ## Choose the videos that are rich in events
# One decode pass measures a video; cuts, likeness and the rules of richness are then computed from what was measured,
# so another threshold decodes nothing. `left_out_by` is the first rule that a video failed.

# %%
scanned = [scan.scan(path, folder / "cache") for path in paths]
measures = [scan.load_measures(result.measures_path) for result in scanned]
judged = [timeline.judge(of_one) for of_one in measures]
strict = timeline.Richness(min_clips=8)
for result, found, of_one in zip(scanned, judged, measures, strict=True):
    under_strict = timeline.judge(of_one, strict).left_out_by or "kept"
    print(f"{result.video.path.name}: {len(found.timeline)} clips, {found.left_out_by or 'kept'}; at 8: {under_strict}")
kept = [i for i, found in enumerate(judged) if found.kept]

# %% [markdown]
# ## Perturb the order
# A plan is a kind, a magnitude r and an order of clips that alone replays it. Small r of drop and large r of reverse
# are not one scale, so every plan is measured too; 1 is hard, and only plans of one kind are compared.

# %%
shown = judged[kept[0]]
lengths = [clip.n_frames for clip in shown.timeline]
drawn = perturbation.plans(len(lengths), seed_of=lambda kind, r, replica: 0)
for plan in drawn.plans:
    hardness = perturbation.difficulty(plan, lengths, shown.clip_likeness).value
    print(f"{plan.kind:8} r = {plan.magnitude:2}  difficulty {hardness:.2f}  {plan.order}")
print(*drawn.collapsed, sep="\n")

# %% [markdown]
# ## Ask a model on both orders
# The model is its own teacher: it captions each clip, then writes one description from the captions in clean order
# (chosen) and one in the plan's order (rejected). For a model of your own give its folder: a Qwen2.5-VL, Qwen3-VL,
# LLaVA-OneVision or InternVL as transformers saves it.

# %%
llm = video_llms.load(EMBEDDED_MODEL)


def pictures(i, numbers):
    """The frames of video `i` by number, shrunk as the model takes them."""
    return media.frames(paths[i], numbers, measures[i].pts, measures[i].time_base, long_side=llm.long_side)


def job(i):
    clips, video = judged[i].timeline, scanned[i].video
    made = perturbation.plans(
        len(clips), magnitudes=(2, 4), seed_of=lambda kind, r, replica: pairing.seed_of(0, video.sha256, kind, r)
    )
    return pairing.PairingJob(
        video_id=i,
        timeline_id=i,
        video_key=video.sha256,
        clip_pictures=tuple(clip.key_frames for clip in clips),
        clip_durations_s=tuple(clip.n_frames / float(video.fps) for clip in clips),
        plans=tuple(enumerate(made.plans)),
    )


for_pairs, for_measuring = kept[:4], kept[4:]
asked = list(pairing.ask(llm, [job(i) for i in for_pairs], Sampling(max_new_tokens=96), pictures, user_seed=0))
pairs = [draft for drafts in asked for draft in drafts.pairs]
print(pairs[0].prompt, "+", pairs[0].chosen.text, "-", pairs[0].rejected.text, sep="\n")

# %% [markdown]
# ## Filter
# Named rules, each with its verdict and what it measured. They look at text only; most of what is left, a person reads.

# %%
verdicts = [filters.run(pair.chosen, pair.rejected, pair.plan.kind) for pair in pairs]
failed = Counter(verdict.name for of_one in verdicts for verdict in of_one if not verdict.passed)
usable = [pair for pair, of_one in zip(pairs, verdicts, strict=True) if filters.passed(of_one)]
print(f"{len(usable)} of {len(pairs)} pairs pass; failed: {dict(failed)}")
for pair in usable[:3]:
    events = worlds.read_events(paths[pair.video_id])
    sides = [worlds.agreement(events, answer.text).order for answer in (pair.chosen, pair.rejected)]
    print(f"{pair.plan.kind} r = {pair.plan.magnitude}: order right, chosen {sides[0]}, rejected {sides[1]}")

# %% [markdown]
# ## Measure
# On videos that no pair came from. Intervals are 95 %, from a bootstrap over videos, for questions about one video are
# not independent. An untrained model names the events (`recall`) and is at chance on their order (`swap`, `order`).

# %%
held_out = tuple(
    HeldOutVideo(scanned[i].video, scanned[i].times_sha256, tuple(clip.key_frames for clip in judged[i].timeline))
    for i in for_measuring
)
by_hash = {scanned[i].video.sha256: i for i in for_measuring}
material = Material(held_out, (), lambda video, times_sha256, numbers: pictures(by_hash[video.sha256], numbers))


def measured(model):
    scores = benchmarks.load("drawn_world").run(model, material, lambda progress: None)
    return {score.metric: score for score in scores}


of_first = measured(llm)
for score in of_first.values():
    print(f"{score.metric:18} {score.value:.2f} [{score.low:.2f}, {score.high:.2f}], n = {score.n}")

# %% [markdown]
# ## Compare two models
# Item by item on the same questions: better, worse, or cannot tell. The second embedded model is built differently and
# learned the same lessons.

# %%
of_second = measured(video_llms.load(SECOND_MODEL))
verdict = {}
for metric, score in of_first.items():
    values = [[item.correct or 0.0 for item in found[metric].items] for found in (of_first, of_second)]
    verdict[metric] = statistics.paired_bootstrap(*values, [item.group for item in score.items])
    told = verdict[metric]
    print(f"{metric:18} {told.difference:+.2f} [{told.low:+.2f}, {told.high:+.2f}]: {told.verdict}")
