"""A small log of simulated users, for the tests of the analysis: position-based clicks, people who come again."""

import numpy as np

from rrarank.data.ubi import Log, LoggedQuery, click

DAY = 86_400.0


def make_log(
    arms, attraction, *, users=200, seed=0, days=5, design="ab", decay=1.0, team_of=None, queries=4.0, experiment="e"
):
    """A log in which each user sees one arm's lists.

    Args:
        arms: arm -> qid -> docids.
        attraction: qid -> docid -> probability of a click once looked at.
        decay: a place k is looked at with probability 1 / k**decay.
    """
    rng = np.random.default_rng(seed)
    names = list(arms)
    logged: list[LoggedQuery] = []
    events = []
    for user in range(users):
        arm = names[rng.integers(len(names))]
        for _ in range(1 + rng.poisson(queries - 1)):
            qid = sorted(arms[arm])[rng.integers(len(arms[arm]))]
            shown, attributes = arms[arm][qid], {"experiment": experiment, "design": design, "arm": arm, "qid": qid}
            if design != "ab":
                shown, teams = team_draft({name: arms[name][qid] for name in names}, rng)
                attributes = {"experiment": experiment, "design": design, "teams": teams, "qid": qid}
            start = DAY * rng.integers(days) + rng.uniform(0, DAY / 2)
            query = LoggedQuery(
                f"q{len(logged)}", f"u{user}", _iso(start), tuple(shown), f"words of {qid}", query_attributes=attributes
            )
            logged.append(query)
            for place, docid in enumerate(shown, start=1):
                if rng.random() < attraction[qid].get(docid, 0.0) / place**decay:
                    events.append(
                        click(query, place, query.seconds + place, {"dwell_time": float(rng.integers(5, 900))})
                    )
    return Log(logged, events)


def team_draft(lists, rng):
    """Two lists drafted into one, and the team of each document."""
    left = {name: list(docids) for name, docids in lists.items()}
    shown, teams = [], []
    while any(left.values()):
        for name in rng.permutation(list(left)):
            name = str(name)
            while left[name] and left[name][0] in shown:
                left[name].pop(0)
            if left[name]:
                shown.append(left[name].pop(0))
                teams.append(name)
    return shown, teams


def _iso(seconds):
    from rrarank.data.ubi import iso_time

    return iso_time(1_760_000_000 + float(seconds))
