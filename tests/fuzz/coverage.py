# SPDX-License-Identifier: MIT
"""Sums up what `llvm-cov export -summary-only` writes: coverage.py TRUSTED <SUMMARY

TRUSTED lists the files of core/ that never see a hostile byte, one per line, each with the reason; a name may end
with *. Fails if one of them is gone, or if fewer than 85 percent of the lines of the others are covered.
"""
import fnmatch
import json
import sys

LEAST = 85


def read_trusted(path):
    with open(path) as f:
        return [line.split()[0] for line in f if line.strip() and not line.startswith("#")]


def main():
    trusted = read_trusted(sys.argv[1])
    unmatched = set(trusted)
    lines = covered = 0
    rows = []
    for entry in json.load(sys.stdin)["data"][0]["files"]:
        name = entry["filename"]
        name = name[name.find("core/"):] if "core/" in name else name
        matching = [pattern for pattern in trusted if fnmatch.fnmatchcase(name, pattern)]
        unmatched -= set(matching)
        if matching or not name.startswith("core/"):
            continue
        count = entry["summary"]["lines"]
        lines += count["count"]
        covered += count["covered"]
        rows.append((count["covered"] / max(1, count["count"]), count["count"] - count["covered"], name))
    for share, missed, name in sorted(rows, key=lambda row: -row[1]):
        print(f"{100 * share:5.1f} %  {missed:4d} lines missed  {name}")
    for pattern in sorted(unmatched):
        print(f"{pattern}: there is no such file")
    share = 100 * covered / lines
    print(f"| lines of core/ reached by the fuzz corpora | {covered} of {lines} | {share:.1f} % |")
    return bool(unmatched) or share < LEAST


if __name__ == "__main__":
    sys.exit(main())
