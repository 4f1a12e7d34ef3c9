"""Gannet through its program, so that all of the durable engine is measured."""

import json
import re
import shutil

import child
import vectors
from child import ToolFailed

K = 10
COLLECTION = "c"


class Gannet:
    def __init__(self, program, graph_alone):
        """`program` is gannet; `graph_alone` the example `recall` of gannet-hnsw, or None."""
        self.program = program
        self.graph_alone = graph_alone
        anywhere = child.cores(1)
        self.version = child.run([program, "--version"], anywhere).stdout.split()[-1]

    def load(self, data, database, threads, on, more):
        """Imports the base into a new database: the whole process, start to end."""
        shutil.rmtree(database, ignore_errors=True)
        command = [self.program, "import", "--db", database, "--collection", COLLECTION]
        command += ["--metric", data.metric, "--threads", threads, "--json", *more, data.base]
        done = child.run(command, on)
        return {"seconds": done.wall_s, "cpu_s": done.cpu_s, "told": answer(done)}

    def build_graph(self, data, work, threads, on):
        """Builds the graph alone, from rows in memory; None if it is not to be had."""
        if self.graph_alone is None:
            return None
        base = data.base
        if base.suffix == ".npy":
            base = work / "base.fbin"
            if not base.exists():
                vectors.write_fbin(base, data.rows())
        command = [self.graph_alone, base, work / "queries.fbin", work / "truth.ivecs"]
        told = child.run([*command, data.metric, threads], on).stdout
        built = re.search(r"built in ([\d.]+) s", told)
        if built is None:
            raise ToolFailed(f"{self.graph_alone}: no time of building in `{told[:200]}`")
        curve = re.findall(r"ef +(\d+): recall@10 ([\d.]+), (\d+)", told)
        points = [{"ef": int(ef), "recall": float(r), "qps": float(q)} for ef, r, q in curve]
        return {"seconds": float(built[1]), "points": points, "told": told.splitlines()[0]}

    def search(self, database, work, efs, on, *more, threads=1, ids=None):
        """Searches with each of `efs`, one query a call unless `more` says otherwise.

        With `ids`, a file, these rows alone; the program then knows the truth itself.
        Returns the answers to each ef, after a warm-up that is not told, and the process's share
        of cores; the ids found at the last ef are in `work/found.ivecs`.
        """
        command = [self.program, "search", "--db", database, "--collection", COLLECTION]
        command += ["--queries", work / "queries.fbin", "--k", K]
        if ids is None:
            command += ["--truth", work / "truth.ivecs"]
        else:
            command += ["--ids", ids]
        # The warm-up is the first measurement.
        command += ["--ef", ",".join(str(ef) for ef in [efs[0], *efs]), "--threads", threads]
        command += ["--out", work / "found.ivecs", "--json", *more]
        done = child.run(command, on)
        points = answer(done)["results"][1:]
        if [point.get("ef") for point in points] != list(efs):
            raise ToolFailed(f"gannet search: answers to other ef than {efs}: {points}")
        return points, done.share()


def answer(done):
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise ToolFailed(f"gannet: not JSON ({error}): {done.stdout[:200]}") from error


def as_point(point):
    """An answer of one query a call: everything told, the mean under the name that peers use."""
    # On one thread the rate is the reciprocal of the mean, what lies between the calls included.
    return {"mean_us": 1e6 / point["qps"]} | point
