"""The command line of the fuzzer."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .readers import READERS
from .runner import Worker, again, fuzz


def main() -> int:
    """Fuzz readers, or try findings again; the exit status is 1 where something was found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Reads damaged files. What ends otherwise than with a result or an error of vlm2vec, "
        "in time and memory, is written to a folder.",
        epilog="example: python -m tests.fuzz image --minutes 5 --seed 1",
    )
    parser.add_argument(
        "what", nargs="+", help=f"readers ({', '.join(READERS)}, all), or folders of findings"
    )
    parser.add_argument("--minutes", type=float, help="for each reader; 1 if nothing else ends it")
    parser.add_argument(
        "--cpu-minutes", type=float, help="CPU time of each reader, on a machine that is shared"
    )
    parser.add_argument("--seed", type=int, default=0, help="the cases of a seed are always the same")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="gets what is found")
    given = parser.parse_args()
    names = list(READERS) if given.what == ["all"] else given.what
    minutes = given.minutes or (None if given.cpu_minutes else 1.0)
    found = False
    with Worker() as worker:
        for name in names:
            if name not in READERS:
                answer = again(Path(name), worker)
                found |= answer["finding"] is not None
                shown = json.dumps(answer, indent=1).replace("\\n", "\n")
                sys.stdout.write(f"{name}: {shown}\n")
                continue
            report = fuzz(
                name,
                worker,
                given.findings,
                seed=given.seed,
                minutes=minutes,
                cpu_minutes=given.cpu_minutes,
                first=given.first,
            )
            found |= bool(report.findings)
            sys.stdout.write(f"{name}, seed {given.seed}: {report}\n")
            sys.stdout.flush()
            if report.is_stopped:
                break
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
