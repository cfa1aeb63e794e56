# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The pictures of docs/performance.md. They have a white background, so that they are legible on a dark page."""

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as pyplot  # noqa: E402

from report_aims import POOL  # noqa: E402

pyplot.rcParams.update(
    {
        "svg.hashsalt": "libbufpool",
        "svg.fonttype": "path",
        "font.size": 9,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dddddd",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
)

COLORS = {
    "libbufpool": "#c01c28",
    "malloc": "#9a9996",
    "floor": "#3d3846",
    "futex": "#3d3846",
    "counter": "#e5a50a",
    "careful": "#1c71d8",
    "naive": "#62a0ea",
    "GAsyncQueue": "#f66151",
    "GBytes": "#813d9c",
    "GTask": "#813d9c",
    "GstBufferPool": "#26a269",
    "rte_mempool": "#63452c",
    "rte_mempool, no cache": "#b5835a",
}


def save(figure, path):
    figure.savefig(path, facecolor="white", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def draw_bars(axes, figures, program, cases, quantity="time"):
    """A group for each case, a bar for each subject, and a line from minimum to maximum on it."""
    subjects = figures.subjects(program)
    width = 0.85 / len(subjects)
    for number, subject in enumerate(subjects):
        for place, case in enumerate(cases):
            if subject not in figures.subjects(program, case):
                continue
            figure = figures.get(program, case, subject, quantity)
            if figure is None:
                continue
            spread = [[figure["median"] - figure["minimum"]], [figure["maximum"] - figure["median"]]]
            axes.bar(
                place + (number - (len(subjects) - 1) / 2) * width,
                figure["median"],
                width,
                yerr=spread,
                color=COLORS[subject],
                error_kw={"elinewidth": 0.6, "ecolor": "#888888"},
                label=subject if place == 0 else None,
            )
    axes.set_xticks(range(len(cases)), cases)
    axes.grid(axis="x", visible=False)


def put_legend_beside(axes):
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def plot_latency(figures):
    figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
    draw_bars(axes, figures, "latency", [c for c in figures.cases("latency") if not c.endswith("touched")])
    axes.set_yscale("log")
    axes.set_ylabel("ns for allocate and drop")
    axes.set_title("One thread: less is better")
    put_legend_beside(axes)
    return figure


def plot_lines(axes, figures, program, xs, case_of, subjects, quantity):
    for subject in subjects:
        points = []
        for x in xs:
            figure = figures.get(program, case_of(x), subject, quantity)
            if figure is not None:
                points.append((x, figure["median"], figure["minimum"], figure["maximum"]))
        if not points:
            continue
        places, medians, lows, highs = zip(*points)
        axes.plot(places, medians, marker="o", markersize=4, color=COLORS[subject], label=subject)
        axes.fill_between(places, lows, highs, color=COLORS[subject], alpha=0.12, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(xs, [str(x) for x in xs])
    axes.set_xlabel("threads")


def plot_contention(figures):
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    subjects = figures.subjects("contention")
    plot_lines(axes, figures, "contention", [1, 2, 4, 8], lambda n: f"{n} threads", subjects, "throughput")
    axes.set_ylabel("million requests per second, together")
    axes.set_title("Several threads, a limit that they do not reach: more is better")
    put_legend_beside(axes)
    return figure


def plot_pipeline(figures):
    figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
    draw_bars(axes, figures, "pipeline", figures.cases("pipeline"))
    axes.set_yscale("log")
    axes.set_ylabel("ns for each block")
    axes.set_title("Producers to consumers: less is better")
    put_legend_beside(axes)
    return figure


def plot_saturation(figures):
    figure, rows = pyplot.subplots(2, 3, figsize=(9, 5.5), layout="constrained", sharex=True, sharey="row")
    subjects = figures.subjects("saturation")
    for column, limit in enumerate([1, 2, 4]):
        for row, quantity in enumerate(["throughput", "wait, p99.9"]):
            axes = rows[row][column]
            plot_lines(
                axes,
                figures,
                "saturation",
                [2, 4, 8, 16],
                lambda n, limit=limit: f"{n} threads, limit of {limit}",
                subjects,
                quantity,
            )
            axes.set_xlabel("threads" if row == 1 else "")
        rows[0][column].set_title(f"limit of {limit}")
    rows[0][0].set_ylabel("million/s: more is better")
    rows[1][0].set_ylabel("wait, p99.9, µs: less is better")
    put_legend_beside(rows[0][2])
    return figure


def plot_wake_up(figures):
    figure, panels = pyplot.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
    for axes, case in zip(panels, figures.cases("wake-up")):
        draw_bars(axes, figures, "wake-up", [case])
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel("µs from release to running: less is better")
    put_legend_beside(panels[1])
    return figure


def plot_counting(figures):
    """The lock for which many processors would queue."""
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
    threads = [1, 2, 4, 8, 16, 32, 64]
    palette = pyplot.get_cmap("viridis")
    for axes, title, start in zip(panels, ["each drops its own", "one allocates, another drops"], ["each", "handed"]):
        cases = [case for case in figures.cases("counting") if case.startswith(start)]
        for number, case in enumerate(cases):
            points = [
                (n, figures.median("counting", case, f"{n} threads, {n} stripes", "locked sections"))
                for n in threads
                if f"{n} threads, {n} stripes" in figures.subjects("counting", case)
            ]
            axes.plot(*zip(*points), marker="o", markersize=3, color=palette(number / len(cases)), label=case)
        axes.set_xscale("log", base=2)
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_xticks(threads, [str(n) for n in threads])
        axes.set_xlabel("threads, with as many stripes")
        axes.set_title(title)
        axes.legend(fontsize=6.5)
    panels[0].set_ylabel("locked sections per 1000 requests")
    return figure


PLOTS = {
    "latency": plot_latency,
    "contention": plot_contention,
    "pipeline": plot_pipeline,
    "saturation": plot_saturation,
    "wake-up": plot_wake_up,
    "counting": plot_counting,
}
