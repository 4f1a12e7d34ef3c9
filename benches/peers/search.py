#!/usr/bin/env python3
"""Measures Gannet's vector search beside its peers, in turns, in one run.

    search.py --data DIR --gannet PROGRAM [--sets NAME ...] [--rounds 5] [--json OUT]

Prints tables in Markdown; README.md says what is measured, and how. This file keeps the order of
the runs; what one run is, is in peer.py and gannet.py, what comes out, in report.py.
"""

import argparse
import json
import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

import numpy as np

import child
import figures
import gannet
import machine
import report
import sets
import vectors
from child import ToolFailed

K = 10
BATCH_EXACT = 100
BUILD_THREADS = 2
# How far Gannet's recall may lie from the one computed here over the same ids.
RECALL_TOLERANCE = 0.0005
HERE = Path(__file__).resolve().parent


def main():
    args = arguments()
    # So that directories are removed and the tool that runs is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    alone = args.graph or args.gannet.parent / "examples" / "recall"
    with tempfile.TemporaryDirectory(prefix="gannet-peers-", dir=args.work) as work:
        try:
            program = gannet.Gannet(args.gannet, alone if alone.exists() else None)
        except ToolFailed as error:
            print(f"search.py: {error}", file=sys.stderr)
            return 1
        run = Run(args, program, Path(work))
        for name in args.sets:
            run.measure(name)
            if args.json:
                args.json.write_text(json.dumps(run.result, indent=1) + "\n")
    print(report.markdown(run.result))
    return 1 if run.result["failed"] or not run.result["sets"] else 0


def arguments():
    def list_of(kind):
        return lambda text: [kind(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="directory of the sets")
    parser.add_argument("--gannet", type=Path, required=True, help="the program, a release build")
    parser.add_argument("--graph", type=Path,
                        help="the example `recall` of gannet-hnsw [examples/recall beside gannet]")
    parser.add_argument("--sets", nargs="+", default=list(sets.METRICS), metavar="NAME[:METRIC]")
    parser.add_argument("--peers", type=list_of(str), default=["hnswlib", "faiss"],
                        help="hnswlib: graphs; faiss: exact search [hnswlib,faiss]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--build-rounds", type=int, help="[as --rounds]")
    parser.add_argument("--ef", type=list_of(int),
                        default=[10, 16, 24, 32, 48, 64, 96, 128, 200, 400])
    parser.add_argument("--queries", type=int, help="the first so many of each set [all]")
    parser.add_argument("--exact-queries", type=int, default=500)
    parser.add_argument("--import-args", type=shlex.split, default=[],
                        help="more arguments of `gannet import`, as one string")
    parser.add_argument("--work", type=Path, help="where to put databases, on a disk [TMPDIR]")
    parser.add_argument("--json", type=Path, help="everything measured")
    args = parser.parse_args()
    args.gannet = args.gannet.resolve()
    args.build_rounds = args.build_rounds or args.rounds
    unknown = set(args.peers) - {"hnswlib", "faiss"}
    if unknown or min(args.rounds, args.build_rounds) < 1 or min(args.ef) < K:
        parser.error(f"peers are hnswlib, faiss; rounds from 1; ef from {K}")
    return args


class Run:
    def __init__(self, args, program, work):
        self.args = args
        self.gannet = program
        self.work = work
        self.result = {
            "machine": machine.description(work),
            "versions": {"gannet": program.version},
            "settings": {"k": K, "ef": args.ef, "rounds": args.rounds,
                         "build_rounds": args.build_rounds, "build_threads": BUILD_THREADS,
                         "import_args": args.import_args},
            "skipped": [],
            "failed": [],
            "sets": {},
        }
        self.peers = [peer for peer in args.peers if self.has(peer)]
        if "hnswlib" in self.peers:
            version = machine.version("hnswlib")
            self.result["versions"]["hnswlib"] = f"{version} ({machine.hnswlib_build()})"
        if "faiss" in self.peers:
            self.result["versions"]["faiss"] = machine.version("faiss-cpu")
        if self.gannet.graph_alone is None:
            self.skip("graph alone", "the example `recall` is not built")
        if child.cores(2) is None:
            self.skip("two threads", "one core only")

    def has(self, peer):
        found = machine.has_module(peer)
        if not found:
            self.skip(peer, "its module is not installed")
        return found

    def skip(self, what, reason):
        self.say(f"skipped: {what}: {reason}")
        self.result["skipped"].append({"what": what, "reason": reason})

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def measure(self, name):
        """All of one set; a tool that fails ends the set, not the run."""
        try:
            data = sets.find(self.args.data, name, self.args.queries)
        except sets.Absent as error:
            self.skip(name, str(error))
            return
        rows, dims = data.rows().shape
        result = {"metric": data.metric, "rows": rows, "dims": dims, "queries": len(data.queries),
                  "build": [], "search": [], "exact": []}
        self.result["sets"][data.name] = result
        work = self.work / "set"
        work.mkdir()
        try:
            OneSet(self, data, work, result).measure()
        except ToolFailed as error:
            self.say(f"FAILED: {data.name}: {error}")
            self.result["failed"].append({"set": data.name, "error": str(error)})
        finally:
            shutil.rmtree(work)


class OneSet:
    """The runs over one set; `result` is filled as they end."""

    def __init__(self, run, data, work, result):
        self.run = run
        self.args = run.args
        self.gannet = run.gannet
        self.data = data
        self.work = work
        self.result = result
        self.database = work / "database"
        self.index = work / "hnswlib.index"
        self.write_queries(work, len(data.queries))

    def write_queries(self, directory, count):
        vectors.write_fbin(directory / "queries.fbin", self.data.queries[:count])
        vectors.write_ivecs(directory / "truth.ivecs", self.data.truth[:count])

    def measure(self):
        on = child.cores(BUILD_THREADS) or child.cores(1)
        for number in range(self.args.build_rounds):
            self.result["build"].append(self.build(number, on))
        if "hnswlib" in self.run.peers:
            for number in range(self.args.rounds):
                self.result["search"].append(self.search(number))
        if "faiss" in self.run.peers:
            self.exact()

    def say(self, number, what):
        self.run.say(f"{self.data.name}: round {number + 1}: {what}")

    def peer(self, phase, source, other, on, *more):
        """One phase of a peer; `-B`: no compiled files beside the sources."""
        command = [sys.executable, "-B", HERE / "peer.py", phase, source, self.data.metric, other]
        done = child.run([*command, *more], on, {"OMP_NUM_THREADS": "1"})
        return json.loads(done.stdout), done.share()

    def build(self, number, on):
        """One build of each; those of the last round are searched."""
        self.say(number, "builds")
        told = {"load": machine.load()}
        threads = ("--threads", BUILD_THREADS)
        if "hnswlib" in self.run.peers:
            told["hnswlib"], _ = self.peer("build", self.data.base, self.index, on, *threads)
        told["graph"] = self.gannet.build_graph(self.data, self.work, BUILD_THREADS, on)
        more = self.args.import_args
        told["import"] = self.gannet.load(self.data, self.database, BUILD_THREADS, on, more)
        return told

    def search(self, number):
        """One thread in turns, then two, at the ef that reaches the recall looked at."""
        self.say(number, "searches")
        told = {"load": machine.load()}
        efs = ",".join(str(ef) for ef in self.args.ef)
        queries, ids = self.work / "queries.fbin", self.work / "ids.npy"
        one = child.cores(1)
        more = ("--ef", efs, "--ids", ids)
        answer, hnswlib_share = self.peer("search", self.index, queries, one, *more)
        told["hnswlib"] = answer["points"]
        points, gannet_share = self.gannet.search(self.database, self.work, self.args.ef, one)
        told["gannet"] = [gannet.as_point(point) for point in points]
        told["shares"] = {"hnswlib": hnswlib_share, "gannet": gannet_share}
        batch = ("--batch", len(self.data.queries))
        points, _ = self.gannet.search(self.database, self.work, self.args.ef, one, *batch)
        for single, point in zip(told["gannet"], points):
            single["batch_qps"] = point["qps"]
        if number == 0:
            self.recalls = [self.recall(found) for found in np.load(ids)]
            self.check_recall(one)
        for point, recall in zip(told["hnswlib"], self.recalls):
            point["recall"] = recall
        two = child.cores(2)
        if two is not None:
            ef = figures.ef_reaching(told["hnswlib"], report.RECALL_LOOKED_AT)
            more = ("--ef", ef, "--threads", 2)
            answer, _ = self.peer("threads", self.index, queries, two, *more)
            told["hnswlib_two"] = {"ef": ef, "qps": answer["qps"]}
            ef = figures.ef_reaching(told["gannet"], report.RECALL_LOOKED_AT)
            points, _ = self.gannet.search(self.database, self.work, [ef], two, threads=2)
            told["gannet_two"] = {"ef": ef, "qps": points[0]["qps"]}
        return told

    def recall(self, found):
        data = self.data
        return vectors.recall(data.rows(), data.queries, data.truth, found, K, data.metric)

    def check_recall(self, on):
        """Gannet's own recall against the one that is computed here for the peers.

        At the least ef: near 1 nearly any two would agree.
        """
        points, _ = self.gannet.search(self.database, self.work, [min(self.args.ef)], on)
        told = points[0]["recall"]
        computed = self.recall(vectors.read_ivecs(self.work / "found.ivecs"))
        self.result["recall_check"] = {"told": told, "computed": computed}
        if abs(told - computed) > RECALL_TOLERANCE:
            raise ToolFailed(f"recall: gannet says {told}, the same ids come to {computed}")

    def exact(self):
        few = self.work / "exact"
        few.mkdir()
        self.write_queries(few, self.args.exact_queries)
        queries = few / "queries.fbin"
        one = child.cores(1)
        for number in range(self.args.rounds):
            self.say(number, "exact searches")
            told = {"load": machine.load()}
            more = ("--batch", BATCH_EXACT)
            told["faiss"], _ = self.peer("exact", self.data.base, queries, one, *more)
            points, _ = self.gannet.search(self.database, few, [K], one, "--exact")
            told["gannet"] = gannet.as_point(points[0])
            points, _ = self.gannet.search(self.database, few, [K], one, "--exact", *more)
            told["gannet"]["batch_qps"] = points[0]["qps"]
            self.result["exact"].append(told)


if __name__ == "__main__":
    sys.exit(main())
