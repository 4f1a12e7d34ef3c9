#!/usr/bin/env python3
"""Measures Gannet's filtered search beside Qdrant Edge's, in turns, in one run.

    filters.py --data DIR --gannet PROGRAM [--set NAME] [--rounds 5] [--json OUT]

Prints a table in Markdown; README.md says what is measured, and how. This file keeps which rows
pass, and the order of the runs; what a run of the peer is, is in qdrant.py.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

import numpy as np

import child
import figures
import gannet
import machine
import sets
import vectors
from child import ToolFailed

K = 10
RECALL = 0.95
THREADS = 2
# Of the filter `cells`: rows are ranked by how near they are to the nearest of so many.
CENTRES = 8
SEED = 11
HERE = Path(__file__).resolve().parent


def main():
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="gannet-filters-", dir=args.work) as work:
        try:
            data = sets.find(args.data, args.set, args.queries)
            run = Run(args, data, Path(work), args.builds or Path(work))
            run.measure()
        except (ToolFailed, sets.Absent) as error:
            print(f"filters.py: {error}", file=sys.stderr)
            return 1
    if args.json:
        args.json.write_text(json.dumps(run.result, indent=1) + "\n")
    print(markdown(run.result))
    return 0


def arguments():
    def list_of(kind):
        return lambda text: [kind(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="directory of the sets")
    parser.add_argument("--gannet", type=Path, required=True, help="the program, a release build")
    parser.add_argument("--set", default="sift-128-200k", metavar="NAME[:METRIC]")
    parser.add_argument("--shares", type=list_of(float), default=[0.01, 0.1, 1, 10, 50, 90],
                        help="percent of the rows that pass")
    parser.add_argument("--counts", type=list_of(int), default=[0, 1], help="rows that pass")
    parser.add_argument("--kinds", type=list_of(str), default=["random", "cells"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ef", type=list_of(int), default=[10, 16, 24, 32, 48, 64, 96, 128, 256])
    parser.add_argument("--queries", type=int, default=1000, help="the first so many of the set")
    parser.add_argument("--work", type=Path, help="where to put databases, on a disk [TMPDIR]")
    parser.add_argument("--builds", type=Path,
                        help="databases of a run before with the same set, or where to leave them")
    parser.add_argument("--json", type=Path, help="everything measured")
    args = parser.parse_args()
    args.gannet = args.gannet.resolve()
    return args


class Run:
    """The runs over one set; `result` is filled as they end."""

    def __init__(self, args, data, work, builds):
        self.args, self.data, self.work, self.builds = args, data, work, builds
        self.gannet = gannet.Gannet(args.gannet, None)
        self.has_peer = machine.has_module("qdrant_edge")
        if not self.has_peer:
            self.say("skipped: Qdrant Edge: its module is not installed")
        rows, dims = data.rows().shape
        self.result = {
            "machine": machine.description(work),
            "versions": {"gannet": self.gannet.version},
            "set": {"name": data.name, "metric": data.metric, "rows": rows, "dims": dims,
                    "queries": len(data.queries)},
            "filters": {},
        }
        if self.has_peer:
            self.result["versions"]["qdrant"] = machine.version("qdrant-edge-py")
        self.base = vectors.as_floats(data.rows(), data.metric)
        self.queries = vectors.as_floats(data.queries, data.metric)
        # By kind: the place of each row in the order in which rows are let pass.
        self.ranks = {kind: self.ranking(kind) for kind in args.kinds}

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def ranking(self, kind):
        chance = np.random.default_rng(SEED)
        rows = len(self.base)
        if kind == "random":
            order = chance.permutation(rows)
        elif kind == "cells":
            centres = self.base[chance.choice(rows, CENTRES, replace=False)]
            order = np.argsort(squares(self.base, centres).min(1), kind="stable")
        else:
            raise ToolFailed(f"no kind of filter {kind}")
        ranks = np.empty(rows, np.int64)
        ranks[order] = np.arange(rows)
        return ranks

    def measure(self):
        vectors.write_fbin(self.work / "queries.fbin", self.data.queries)
        self.build()
        for kind in self.args.kinds:
            for count in self.args.counts:
                self.one(kind, count, f"{kind}, {count} rows")
            for share in self.args.shares:
                count = max(1, round(len(self.base) * share / 100))
                self.one(kind, count, f"{kind}, {share:g} %")

    def build(self):
        """What is to be searched, as far as it is not there from a run before."""
        on = child.cores(THREADS) or child.cores(1)
        self.builds.mkdir(exist_ok=True)
        ours, theirs = self.builds / "database", self.builds / "qdrant"
        if not ours.exists():
            self.say("builds: Gannet")
            self.gannet.load(self.data, ours, THREADS, on, [])
        if self.has_peer and not theirs.exists():
            self.say("builds: Qdrant Edge")
            np.savez(self.work / "ranks.npz", **self.ranks)
            self.peer("build", on, "--ranks", self.work / "ranks.npz")

    def one(self, kind, count, name):
        """One filter: all rounds of both, in turns."""
        passing = np.flatnonzero(self.ranks[kind] < count)
        ids = self.work / "passing.txt"
        ids.write_text("".join(f"{row}\n" for row in passing))
        kth = self.kth(passing)
        rounds = []
        for number in range(self.args.rounds):
            self.say(f"{name}: round {number + 1}")
            rounds.append(self.round(kind, count, ids, kth))
        self.result["filters"][name] = {"rows": count, "rounds": rounds}

    def round(self, kind, count, ids, kth):
        one = child.cores(1)
        told = {"load": machine.load()}
        points, share = self.gannet.search(self.builds / "database", self.work, self.args.ef, one,
                                           ids=ids)
        told["gannet"] = [gannet.as_point(point) for point in points]
        for point in told["gannet"]:
            # Where no row passes, no answer lacks one.
            point["recall"] = 1.0 if count == 0 else point["recall"]
        told["shares"] = {"gannet": share}
        if self.has_peer:
            efs = ",".join(str(ef) for ef in self.args.ef)
            found = self.work / "found.npy"
            points, share = self.peer("search", one, "--queries", self.work / "queries.fbin",
                                      "--field", kind, "--below", count, "--ef", efs,
                                      "--ids", found)
            for point, rows in zip(points, np.load(found)):
                point["recall"], point["short"] = self.recall(rows, kth)
            told["qdrant"], told["shares"]["qdrant"] = points, share
        return told

    def peer(self, phase, on, *more):
        command = [sys.executable, "-B", HERE / "qdrant.py", phase, self.builds / "qdrant",
                   self.data.base, self.data.metric]
        done = child.run([*command, *more], on)
        return json.loads(done.stdout), done.share()

    def kth(self, passing):
        """How far the last is that is to be found, of each query; ties count."""
        if len(passing) == 0:
            return np.zeros(len(self.queries))
        rows = self.base[passing]
        last = min(K, len(passing)) - 1
        far = []
        for start in range(0, len(self.queries), 64):
            near = squares(self.queries[start : start + 64], rows)
            far.append(np.partition(near, last, axis=1)[:, last])
        return np.concatenate(far)

    def recall(self, found, kth):
        """Of ids with -1 for none; and how many queries found fewer than there were."""
        wanted = int((found >= 0).sum(1).max())
        if wanted == 0:
            return 1.0, 0
        rows = self.base[np.maximum(found, 0)].astype(np.float64)
        far = ((rows - self.queries[:, None, :].astype(np.float64)) ** 2).sum(2)
        hits = (far <= kth[:, None] * (1 + vectors.TIE_TOLERANCE)) & (found >= 0)
        return float(hits.sum() / (wanted * len(found))), int(((found >= 0).sum(1) < wanted).sum())


def squares(some, others):
    """Squared distances in float64: an array (some, others)."""
    some, others = some.astype(np.float64), others.astype(np.float64)
    products = some @ others.T
    return np.maximum((some**2).sum(1)[:, None] - 2 * products + (others**2).sum(1), 0)


def markdown(result):
    """A line a filter: queries/s at the recall, medians of the rounds, and of their ratios."""
    one = result["set"]
    lines = [
        f"{one['name']}, {one['rows']:,} rows x {one['dims']}, {one['metric']}; k {K}, one thread, "
        f"one query a call, {one['queries']} queries; {result['machine']['cpu']}; "
        f"versions {result['versions']}",
        "",
        f"| filter | rows | Gannet, queries/s at {RECALL} | Qdrant Edge | ratio | plan |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, told in result["filters"].items():
        ours = [speed(part["gannet"]) for part in told["rounds"]]
        theirs = [speed(part["qdrant"]) for part in told["rounds"] if "qdrant" in part]
        both = [a.over(b) if a and b else None for a, b in zip(ours, theirs)]
        first = told["rounds"][0]["gannet"]
        plan = next((point["plan"] for point in first if point["recall"] >= RECALL), "-")
        cells = (figures.median(part) or "-" for part in (ours, theirs, both))
        lines.append(f"| {name} | {told['rows']:,} | {' | '.join(map(str, cells))} | {plan} |")
    return "\n".join(lines)


def speed(points):
    known = [(p["recall"], 1e6 / p["mean_us"]) for p in points]
    return figures.speed_at(known, RECALL)


if __name__ == "__main__":
    sys.exit(main())
