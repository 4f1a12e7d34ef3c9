"""The tables, in Markdown, of what was measured: medians over rounds, ratios by round."""

import figures
from figures import Figure

RECALLS = (0.95, 0.99)
# Where single calls and two threads are looked at.
RECALL_LOOKED_AT = 0.95


def markdown(result):
    parts = [circumstances(result)]
    measured = result["sets"]
    for table in (at_recall, single_calls, two_threads, builds, exact, curves):
        text = table(measured)
        if text:
            parts.append(text)
    for kind, name, reason in (("skipped", "what", "reason"), ("failed", "set", "error")):
        parts.extend(f"{kind}: {one[name]}: {one[reason]}" for one in result[kind])
    return "\n\n".join(parts)


def circumstances(result):
    machine, settings = result["machine"], result["settings"]
    rounds = [told for one in result["sets"].values() for kind in ("build", "search", "exact")
              for told in one[kind]]
    loads = [told["load"] for told in rounds]
    versions = ", ".join(f"{name} {what}" for name, what in result["versions"].items())
    shares = [told["shares"] for told in rounds if "shares" in told]
    efs = ", ".join(str(ef) for ef in settings["ef"])
    return (
        f"Commit {machine['commit']}. {machine['cpu']}, {machine['cores']} cores, "
        f"Linux {machine['kernel']}, {machine['file_system']}; Python {machine['python']}, "
        f"numpy {machine['numpy']}. "
        f"{versions}. k {settings['k']}, ef {efs}; {settings['rounds']} rounds of searches, "
        f"{settings['build_rounds']} of builds, in turns."
        + (f" Load when a round began: {min(loads):.2f} to {max(loads):.2f}." if loads else "")
        + "".join(f" Least share of its core that {who} had: {min(s[who] for s in shares):.2f}."
                  for who in ("hnswlib", "gannet") if shares)
    )


def table(head, rows):
    if not rows:
        return ""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def shown(figure):
    return "-" if figure is None else str(figure)


def batch_qps(point):
    """Of a batch; of single calls where the contender was not measured in batches."""
    return point.get("batch_qps") or 1e6 / point["mean_us"]


def single_qps(point):
    return 1e6 / point["mean_us"]


def typical_qps(point):
    """Of a call that nobody else disturbed: on a busy machine the steadiest of all."""
    return 1e6 / point["p50_us"]


def at_recall(measured):
    rows = []
    for name, one in measured.items():
        if one["search"]:
            kinds = (("batch", batch_qps), ("single", single_qps), ("single, by p50", typical_qps))
            for kind, speed in kinds:
                rows += [row_at_recall(name, kind, speed, one["search"], at) for at in RECALLS]
    head = ["set", "calls", "recall@10", "hnswlib, queries/s", "Gannet, queries/s",
            "Gannet / hnswlib", "by round"]
    return table(head, rows)


def row_at_recall(name, kind, speed, rounds, recall):
    def by_round(who):
        return [figures.speed_at([(p["recall"], speed(p)) for p in told[who]], recall)
                for told in rounds]

    peer, ours = by_round("hnswlib"), by_round("gannet")
    ratios = [a and b and a.over(b) for a, b in zip(ours, peer)]
    medians = [shown(figures.median(each)) for each in (peer, ours, ratios)]
    return [name, kind, recall, *medians, ", ".join(shown(ratio) for ratio in ratios)]


def single_calls(measured):
    rows = [row_of_singles(name, who, one["search"])
            for name, one in measured.items() if one["search"] for who in ("hnswlib", "gannet")]
    head = ["set", "", "ef", "recall@10", "mean us", "p50 us", "p99 us", "batch, us a query",
            "mean / batch"]
    return table(head, rows)


def row_of_singles(name, who, rounds):
    ef = figures.ef_reaching(rounds[0][who], RECALL_LOOKED_AT)
    points = [point_of(told[who], ef) for told in rounds]
    cells = [median_of(points, lambda point, key=key: point[key])
             for key in ("mean_us", "p50_us", "p99_us")]
    if "batch_qps" in points[0]:
        cells.append(median_of(points, lambda point: 1e6 / point["batch_qps"]))
        cells.append(median_of(points, lambda point: point["mean_us"] * point["batch_qps"] / 1e6))
    else:
        cells += ["-", "-"]
    return [name, who, ef, f"{points[0]['recall']:.4f}", *cells]


def two_threads(measured):
    rows = [row_of_two(name, who, one["search"])
            for name, one in measured.items() for who in ("hnswlib", "gannet")
            if one["search"] and f"{who}_two" in one["search"][0]]
    head = ["set", "", "ef", "one thread, queries/s", "two threads, queries/s", "gain",
            "by round"]
    return table(head, rows)


def row_of_two(name, who, rounds):
    """Gannet's threads take single queries, so that its gain is over single calls."""
    kind = single_qps if who == "gannet" else batch_qps
    pairs = [(kind(point_of(told[who], told[f"{who}_two"]["ef"])), told[f"{who}_two"]["qps"])
             for told in rounds]
    gains = [Figure(two / one) for one, two in pairs]
    cells = [median_of(pairs, lambda pair, at=at: pair[at]) for at in (0, 1)]
    by_round = ", ".join(str(gain) for gain in gains)
    return [name, who, rounds[0][f"{who}_two"]["ef"], *cells, figures.median(gains), by_round]


def builds(measured):
    rows = [[name, *row_of_builds(one["build"])] for name, one in measured.items() if one["build"]]
    head = ["set", "hnswlib, s", "graph alone, s", "graph / hnswlib", "by round", "import, s",
            "import / hnswlib", "by round", "hnswlib, CPU s", "import, CPU s"]
    return table(head, rows)


def row_of_builds(rounds):
    peer = figures_of(rounds, "hnswlib", "seconds")
    cells = [shown(figures.median(peer))]
    for ours in (figures_of(rounds, who, "seconds") for who in ("graph", "import")):
        ratios = [a and b and a.over(b) for a, b in zip(ours, peer)]
        by_round = ", ".join(shown(ratio) for ratio in ratios)
        cells += [shown(figures.median(ours)), shown(figures.median(ratios)), by_round]
    return cells + [shown(figures.median(figures_of(rounds, who, "cpu_s")))
                    for who in ("hnswlib", "import")]


def figures_of(rounds, who, key):
    return [Figure(told[who][key]) if told.get(who) else None for told in rounds]


def exact(measured):
    rows = []
    for name, one in measured.items():
        for kind, speed in (("one query", single_qps), ("batches of 100", batch_qps)):
            rounds = one["exact"]
            # Without batches of Gannet's own there is nothing to set beside those of faiss.
            if rounds and (kind == "one query" or "batch_qps" in rounds[0]["gannet"]):
                pairs = [(1e6 / speed(told["faiss"]), 1e6 / speed(told["gannet"]))
                         for told in rounds]
                ratios = [Figure(ours / peer) for peer, ours in pairs]
                cells = [median_of(pairs, lambda pair, at=at: pair[at]) for at in (0, 1)]
                by_round = ", ".join(str(ratio) for ratio in ratios)
                rows.append([name, kind, *cells, figures.median(ratios), by_round])
    head = ["exact search", "a call", "faiss, us a query", "Gannet, us a query", "Gannet / faiss",
            "by round"]
    return table(head, rows)


def curves(measured):
    """Recall and speed by ef: the graphs themselves side by side."""
    rows = []
    for name, one in measured.items():
        for at, point in enumerate(one["search"][0]["hnswlib"] if one["search"] else []):
            cells = []
            for who in ("hnswlib", "gannet"):
                points = [told[who][at] for told in one["search"]]
                cells += [f"{points[0]['recall']:.4f}", median_of(points, batch_qps)]
            rows.append([name, point["ef"], *cells])
    head = ["set", "ef", "hnswlib, recall@10", "queries/s", "Gannet, recall@10", "queries/s"]
    return table(head, rows)


def point_of(points, ef):
    return next(point for point in points if point["ef"] == ef)


def median_of(rounds, number):
    """The median of what `number` takes from each round."""
    return figures.median([Figure(number(told)) for told in rounds])
