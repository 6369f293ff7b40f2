#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes gptq_shuffles.h, the tables of gptq_avx512.c: python3 gptq_shuffles.py >gptq_shuffles.h"""

CODES = range(32)
# Four codes of 0 to 15, then four of 16 to 31: so that each of them is half of every 128-bit lane.
BY_HALVES = [half + four + i for four in range(0, 16, 4) for half in (0, 16) for i in range(4)]
# Of each width, its planes: bits of one, the first byte of it, and where its bits go in a code.
PLANES = {3: [(2, 0, 0), (1, 8, 2)], 5: [(4, 0, 0), (1, 0, 4)], 6: [(4, 0, 0), (2, 0, 4)],
          7: [(4, 0, 0), (2, 0, 4), (1, 8, 6)]}
ZERO = 0x80  # to vpshufb: a byte of zeros


def text(values):
    lines = [", ".join(map(str, values[i:i + 16])) for i in range(0, len(values), 16)]
    return "{" + ",\n        ".join(lines) + "}"


def pick(bits, codes, spare):
    """The two bytes that a code of a stream begins in, and as many zeros as `spare`."""
    out = []
    for i in codes:
        byte = bits * i // 8
        out += [byte, byte + 1 if byte + 1 < 4 * bits else ZERO] + [ZERO] * spare
    return text(out)


def shift(bits, codes):
    return text([bits * i % 8 for i in codes])


def plane(order, width, byte, to):
    picks = [x for i in order for x in (ZERO, byte + width * i // 8)]
    return "{%s,\n        %s}" % (text(picks), text([8 + width * i % 8 - to for i in order]))


def planes(order):
    rows = ["    [%d] = {%s}" % (bits, ",\n        ".join(plane(order, *p) for p in of)) for bits, of in PLANES.items()]
    return "{\n" + ",\n".join(rows) + "}"


def table(declaration, comment, rows):
    print("/* %s */\nstatic const %s __attribute__((aligned(64))) = {\n%s};\n" % (comment, declaration, rows))


def by_bits(row):
    return ",\n".join("    [%d] = %s" % (bits, row(bits)) for bits in (2, 3, 4))


print("/* SPDX-License-Identifier: MIT */\n\n/* Written by gptq_shuffles.py. Part of gptq_avx512.c, which explains it. */\n\n// clang-format off\n")
table("uint8_t pick16[5][64]", "The bytes of codes 0 to 31, in 16 bits each", by_bits(lambda b: pick(b, CODES, 0)))
table("uint16_t shift16[5][32]", "And how far up they begin there", by_bits(lambda b: shift(b, CODES)))
table("uint8_t pick32[5][2][64]", "The same in 32 bits, 16 codes at a time",
      by_bits(lambda b: "{%s,\n        %s}" % (pick(b, CODES[:16], 2), pick(b, CODES[16:], 2))))
table("uint32_t shift32[5][2][16]", "And how far up",
      by_bits(lambda b: "{%s,\n        %s}" % (shift(b, CODES[:16]), shift(b, CODES[16:]))))
table("struct plane planes[2][8][PLANES_MAX]", "One code after the other, and by halves",
      planes(CODES) + ",\n" + planes(BY_HALVES))
