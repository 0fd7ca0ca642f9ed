"""Broken inputs for every parser: whatever comes, the answer is a value or a CrwedgeError, soon and in bounded memory.

python -m tests.fuzz --inputs 1000000          # a few minutes of processor time; a failing input is written to fuzz-failures/
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import random
import re
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from crwedge.core.errors import CrwedgeError
from tests.fuzz_parsers import Parser, parsers

NUMBERS = ("-1", "0", "1e999", "-1e999", "NaN", "9" * 30, "0.5", "2147483648", "18446744073709551616", "1e-320")
WORDS = ("null", "true", "[]", "{}", '""', '"x"', "[[]]", "[1, 2]", '{"size": [1, 2]}')
FEW = b"\x00\x01\x7f\x80\xff\"'{}[]<>/=,:;#%\n\r\t -"


@dataclass
class Outcome:
    """What one parser did."""

    inputs: int = 0
    refused: int = 0
    slowest: float = 0.0
    failures: list[tuple[bytes, str]] = field(default_factory=list)


def run(parser: Parser, inputs: int, seed: int, folder: Path) -> Outcome:
    """Feed `inputs` broken inputs; stops after ten failures."""
    rng, out = random.Random(seed), Outcome()
    for _ in range(inputs):
        data = broken(rng, parser)
        begun = time.perf_counter()
        try:
            parser.feed(folder, data)
        except CrwedgeError:
            out.refused += 1
        except Exception as error:  # that is what is looked for
            out.failures.append((data, f"{type(error).__name__}: {error}"[:300]))
        out.inputs += 1
        out.slowest = max(out.slowest, time.perf_counter() - begun)
        if len(out.failures) >= 10:
            break
    return out


def broken(rng: random.Random, parser: Parser) -> bytes:
    """A seed with one to eight things changed."""
    data = bytearray(rng.choice(parser.seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            return b""
        at, length = rng.randrange(len(data)), rng.choice((1, 1, 2, 4, 16, 64))
        match rng.randrange(8 if parser.text else 6):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + length] = bytes(rng.choice(FEW) for _ in range(length))
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length] * rng.choice((1, 2, 100))
            case 4:
                del data[at:]
            case 5:
                data[at:at] = bytes(rng.randrange(256) for _ in range(length))
            case 6:
                data = bytearray(_exchanged(rng, bytes(data), rb"-?\d+(?:\.\d+)?", NUMBERS))
            case _:
                data = bytearray(_exchanged(rng, bytes(data), rb'"[^"]*"|\[[^\[\]]*\]|\d+', WORDS))
    return bytes(data)


def _exchanged(rng: random.Random, data: bytes, pattern: bytes, choices: tuple[str, ...]) -> bytes:
    found = list(re.finditer(pattern, data))
    if not found:
        return data
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(choices).encode() + data[one.end() :]


def main() -> int:
    """Run all parsers and say what they did."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--inputs", type=int, default=1_000_000, help="broken inputs in all")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", nargs="+", metavar="PARSER", help="by default all; the inputs are shared among them")
    given = options.parse_args()
    logging.disable()
    if Path("/dev/shm").is_dir():
        tempfile.tempdir = "/dev/shm"  # files in memory: twice as many inputs a second
    warnings.simplefilter("ignore")
    known = parsers()
    if unknown := set(given.only or ()) - set(known):
        options.error(f"no parser {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    chosen = {name: known[name] for name in given.only or known}
    failed = 0
    for name, parser in chosen.items():
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            out = run(parser, given.inputs // len(chosen), given.seed, Path(folder))
        took = time.perf_counter() - begun
        print(
            f"{name:12} {out.inputs:>8,} inputs {out.refused:>8,} refused, slowest {out.slowest:.3f} s, {took:.0f} s in all",
            flush=True,
        )
        for data, reason in out.failures:
            failed += 1
            path = Path("fuzz-failures", f"{name.replace(' ', '-')}-{hashlib.sha256(data).hexdigest()[:12]}")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            print(f"  {path}: {reason}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
