"""What a log says of an experiment: arms, lifts, looks day by day, preferences of interleaving, traffic needed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, nan

from rrarank.data.impressions import Impression, Kept
from rrarank.errors import RrarankError, shown
from rrarank.measures.clicks import MEASURES, SAME, measured, totals
from rrarank.measures.counterfactual import OffPolicy
from rrarank.measures.lifts import Lift, Totals, lifts, split_p, users_needed
from rrarank.measures.online_file import MISMATCH
from rrarank.measures.preferences import Preference, corrected, credit, preference
from rrarank.measures.sequential import Estimate, Look, looks
from rrarank.measures.significance import SEED

LEAST = 30  # users of each arm before the first look


@dataclass(frozen=True)
class Arm:
    """One ranker's traffic.

    Args:
        fallbacks: queries where the first stage stood in for it.
        left_out: reason -> users left out.
    """

    name: str
    users: int
    queries: int
    fallbacks: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The traffic that shows a wanted effect with 80% power.

    Args:
        effect: relative lift of a measure; of `preference`, the preference itself.
        value: of the baseline in this log.
        days: at the log's users per day; NaN if it has no times.
    """

    measure: str
    effect: float
    value: float
    users: int
    queries: int
    days: float


@dataclass(frozen=True)
class OnlineResult:
    """What a log says of an experiment.

    Args:
        design: `ab`, or the kind of interleaving.
        baseline: the arm, or ranker, that the others are compared with.
        split_p: of the users' split between the arms; NaN for interleaving, where each user sees all rankers.
        lifts: arm -> its lifts over the baseline.
        looks: arm -> what was known after each day, on the measure `looked_at`.
        preferences: of interleaving: over all queries, then over parts of them.
        capped: stays that were cut to the longest that counts; `waits_capped`: times to the first click.
        stray: events of no logged query or no shown document; `torn` lines and `repeated` events of the log.
        simulated: whether the users are.
        examination: how often each place is looked at, relative to the first, if there are `estimates`: of rankers
            that were not shown.
    """

    experiment: str
    design: str
    baseline: str
    arms: Sequence[Arm]
    days: int
    split_p: float = float("nan")
    lifts: Mapping[str, Sequence[Lift]] = field(default_factory=dict)
    looked_at: str = ""
    looks: Mapping[str, Sequence[Look]] = field(default_factory=dict)
    preferences: Sequence[Preference] = ()
    plans: Sequence[Plan] = ()
    capped: int = 0
    waits_capped: int = 0
    stray: int = 0
    torn: int = 0
    repeated: int = 0
    simulated: bool = False
    examination: Sequence[float] = ()
    estimates: Mapping[str, OffPolicy] = field(default_factory=dict)

    @property
    def is_mismatched(self) -> bool:
        """Whether more users are in an arm than its share allows."""
        return self.split_p < MISMATCH


@dataclass(frozen=True)
class Question:
    """What to ask of a log.

    Args:
        baseline: empty: the first arm by name, or `first stage` rankers such as bm25 if there is one.
        shares: arm -> share of the users; empty: all equal.
        measures: of `clicks.MEASURES`; empty: all that the log can tell.
        looked_at: the measure that is looked at day by day.
        effect: the effect to plan for; 0: none.
    """

    baseline: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
    measures: Sequence[str] = ()
    looked_at: str = "ctr"
    effect: float = 0.0
    seed: int = SEED


def analyse(experiment: str, everyone: Sequence[Impression], kept: Kept, asked: Question) -> OnlineResult:
    """Compare the arms of an A/B test, or the rankers of interleaved lists.

    Args:
        everyone: the impressions before the rules left some out.

    Raises:
        RrarankError: no arms, only one, an unknown baseline, shares that are not of the arms, both designs at once, or
            a question that the design does not answer.
    """
    found = kept.impressions
    where = f"experiment {experiment!r}" if experiment else "the log"
    if drafted := sum(bool(one.query.teams) for one in found):
        if plain := sum(bool(one.query.arm and not one.query.teams) for one in found):
            raise RrarankError(
                f"{where}: {drafted:,} interleaved lists and {plain:,} lists of one arm; expected one design: name the "
                "experiment anew when its design changes"
            )
        return _interleaved(experiment, where, everyone, kept, asked)
    names = sorted({one.query.arm for one in found if one.query.arm})
    if len(names) < 2:
        seen = f"{shown(names)} alone" if names else "no arm"
        raise RrarankError(f"{where}: users of {seen}, expected two arms or more, or interleaved lists")
    baseline = _baseline(names, asked.baseline)
    shares = _shares(names, asked.shares)
    by_arm = {name: [one for one in found if one.query.arm == name] for name in [baseline, *_others(names, baseline)]}
    arms = [_arm(name, own, everyone, kept) for name, own in by_arm.items()]
    measures = list(asked.measures or measured(found))
    values = {name: totals(own, measures, kept.caps) for name, own in by_arm.items()}
    days = _days(found)
    return OnlineResult(
        experiment,
        "ab",
        baseline,
        arms,
        len(days),
        split_p([arm.users for arm in arms], [shares[arm.name] for arm in arms]),
        {
            name: lifts(values[name], values[baseline], untested=SAME, seed=asked.seed)
            for name in _others(names, baseline)
        },
        asked.looked_at,
        {
            name: _looks(by_arm[name], by_arm[baseline], days, asked.looked_at, kept.caps)
            for name in _others(names, baseline)
        },
        plans=_plans(values[baseline], by_arm[baseline], arms, len(days), asked.effect, shares),
        capped=kept.capped,
        waits_capped=kept.waits_capped,
    )


def _days(found: Sequence[Impression]) -> list[str]:
    """In order; none if the log has no times."""
    return sorted({one.day for one in found} - {""})


def _others(names: Sequence[str], baseline: str) -> list[str]:
    return [name for name in names if name != baseline]


def _baseline(names: Sequence[str], given: str) -> str:
    if given and given not in names:
        raise RrarankError(f"--baseline {given}: not in the experiment (known: {', '.join(names)})")
    return given or ("bm25" if "bm25" in names else names[0])


def _shares(names: Sequence[str], given: Mapping[str, float]) -> Mapping[str, float]:
    if given and set(given) != set(names):
        raise RrarankError(
            f"--shares of {', '.join(given)}: expected one for each arm with users in the log ({', '.join(names)})"
        )
    return given or dict.fromkeys(names, 1.0)


def _arm(name: str, own: Sequence[Impression], everyone: Sequence[Impression], kept: Kept) -> Arm:
    here = {one.user for one in everyone if one.query.arm == name or name in one.query.teams}
    left_out = {reason: len(users & here) for reason, users in kept.left_out.items() if users & here}
    fallbacks = sum(name in one.query.fallback for one in own)
    return Arm(name, len({one.user for one in own}), len(own), fallbacks, left_out)


def _looks(
    ours: Sequence[Impression],
    theirs: Sequence[Impression],
    days: Sequence[str],
    measure: str,
    caps: Mapping[str, float],
) -> list[Look]:
    """What was known after each day."""
    estimates = []
    for day in days:
        first, second = (
            totals([one for one in arm if one.day <= day], [measure], caps)[measure] for arm in (ours, theirs)
        )
        if min(first.users, second.users) >= LEAST:
            error = (first.error**2 + second.error**2) ** 0.5
            estimates.append(Estimate(day, first.users + second.users, first.value - second.value, error))
    return looks(estimates)


def _plans(
    values: Mapping[str, Totals],
    own: Sequence[Impression],
    arms: Sequence[Arm],
    days: int,
    effect: float,
    shares: Mapping[str, float],
) -> list[Plan]:
    """For each measure, the users of all arms with which the smallest arm shows the effect against the baseline.

    None for a measure that cannot rise so far.
    """
    if not effect:
        return []
    a_day = sum(arm.users for arm in arms) / days if days else nan
    per_user = len(own) / max(len({one.user for one in own}), 1)
    smallest = min(shares[arm.name] for arm in arms[1:])
    pair = shares[arms[0].name] + smallest
    made = []
    for name, one in values.items():
        can_rise = one.value * (1 + effect) <= MEASURES[name].most
        if one.value and one.deviation > 0 and can_rise and name not in SAME:
            both = users_needed(one.deviation, effect * one.value, share=smallest / pair)
            users = ceil(both * (sum(shares.values()) / pair))
            made.append(Plan(name, effect, one.value, users, round(users * per_user), users / a_day))
    return made


# -- interleaving -----------------------------------------------------------------------------------------------------


def _interleaved(
    experiment: str, where: str, everyone: Sequence[Impression], kept: Kept, asked: Question
) -> OnlineResult:
    found = [one for one in kept.impressions if one.query.teams]
    names = sorted({team for one in found for team in one.query.teams} - {""})  # empty: a document of no ranker
    if len(names) < 2:
        raise RrarankError(f"{where}: documents of {shown(names) or 'no ranker'} alone, expected two rankers or more")
    if unused := _of_ab_tests(asked):
        raise RrarankError(f"{unused}: only for an A/B test; {where} has interleaved lists, which give preferences")
    if asked.effect > 1:
        raise RrarankError(f"--plan {asked.effect:g}: expected a preference of at most 1, such as 0.05")
    baseline = _baseline(names, asked.baseline)
    users, days = {one.user for one in found}, _days(found)
    arms = [
        _arm(name, [one for one in found if name in one.query.teams], everyone, kept)
        for name in [baseline, *_others(names, baseline)]
    ]
    preferences = [one for name in _others(names, baseline) for one in _preferences(found, name, baseline, asked.seed)]
    a_day = len(users) / len(days) if days else nan
    return OnlineResult(
        experiment,
        found[0].query.design or "team-draft",
        baseline,
        arms,
        len(days),
        preferences=preferences,
        plans=[_plan(preferences[0], asked.effect, len(users), len(found), a_day)]
        if asked.effect and preferences and preferences[0].deviation > 0
        else [],
        capped=kept.capped,
    )


def _of_ab_tests(asked: Question) -> str:
    """The flag of a question that interleaved lists do not answer; empty if there is none."""
    given = {
        "--measures": asked.measures,
        "--look-at": asked.looked_at != Question.looked_at,
        "--shares": asked.shares,
    }
    return next((flag for flag, value in given.items() if value), "")


def _plan(one: Preference, effect: float, users: int, queries: int, a_day: float) -> Plan:
    """The effect is the preference itself; every user sees both rankers, and the log says how many of them click.

    Args:
        users, queries: of the log, with and without clicks.
    """
    needed = ceil(users_needed(one.deviation, effect, share=1) * users / one.users)
    return Plan("preference", effect, one.preference, needed, round(needed * queries / users), needed / a_day)


def _preferences(found: Sequence[Impression], name: str, baseline: str, seed: int) -> list[Preference]:
    """Over all queries, then by length and by rarity."""
    often = Counter(one.name for one in found)
    made: list[Preference] = []
    kinds: list[Callable[[Impression], str]] = [
        lambda one: "all",
        by_words,
        lambda one: _rarity(often[one.name]) if one.name else "",
    ]
    for part_of in kinds:
        parts: defaultdict[str, list[Impression]] = defaultdict(list)
        for one in found:
            if one.clicks and (part := part_of(one)):
                parts[part].append(one)
        if made and len(parts) == 1:
            continue  # the same as all
        for part in sorted(parts, key=_ORDER.index):
            own = parts[part]
            credits = [credit(one.teams, name, baseline) for one in own]
            made.append(preference(name, part, _numbers(own), credits, seed=seed))
    return corrected(made)


def _numbers(found: Sequence[Impression]) -> list[int]:
    seen: dict[str, int] = {}
    return [seen.setdefault(one.user, len(seen)) for one in found]


def by_words(one: Impression) -> str:
    """The part of the queries that a query belongs to by its length; empty where it is not logged."""
    logged = one.query.query_attributes.get("words")
    words = logged if isinstance(logged, int) else len(one.query.user_query.split())
    return "" if not words else "<= 5 words" if words <= 5 else "6-9 words" if words <= 9 else ">= 10 words"


def _rarity(often: int) -> str:
    return "asked once" if often == 1 else "asked 2-9 times" if often < 10 else "asked 10+ times"


_ORDER = ["all", "<= 5 words", "6-9 words", ">= 10 words", "asked once", "asked 2-9 times", "asked 10+ times"]
