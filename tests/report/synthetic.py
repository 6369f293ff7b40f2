# SPDX-License-Identifier: MIT
"""Figures of models that do not exist, in the schema of gptqfs --stats --json and --check --json, for pages of a size for
which there is no fixture, and for names that are hostile."""

import math
import random

LLAMA = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
MARKUP = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>&amp;\"'$x$\u202e\u0000{{7*7}}"


def histogram(bits, spread, total):
    """A bell over the codes, of which some are clipped at the ends."""
    count = 1 << bits
    shares = [math.exp(-(((i - count / 2) / (spread * count)) ** 2) / 2) for i in range(count)]
    shares[0], shares[-1] = shares[0] * 2, shares[-1] * 2
    return [int(total * share / sum(shares)) for share in shares]


def module(name, shape, error, bits=4, spread=0.16, scale=0.01, rng=random):
    weights = math.prod(shape)
    codes = histogram(bits, spread, weights)
    shares = [n / sum(codes) for n in codes]
    return {
        "name": name,
        "format": "GPTQ",
        "bits": bits,
        "bits_per_weight": bits + 20 / 128,
        "group_size": 128,
        "shape": shape,
        "codes": {
            "histogram": codes,
            "entropy": -sum(p * math.log2(p) for p in shares if p),
            "lowest": shares[0],
            "highest": shares[-1],
        },
        "scales": {"min": scale / 20, "median": scale, "max": scale * 8, "zero": 0, "not_finite": 0},
        "rms": 0.02,
        "absmax": 0.5,
        "against": error
        and {
            "rel_error": error,
            "sqnr_db": -20 * math.log10(error),
            "max_abs": error / 4,
            "max_at": [rng.randrange(shape[0]), rng.randrange(shape[-1])],
            "cosine": 1 - error * error / 2,
        },
    }


def stats(modules, compared):
    weights = sum(math.prod(m["shape"]) for m in modules)
    stored = sum(m["bits_per_weight"] * math.prod(m["shape"]) / 8 for m in modules)
    error = math.sqrt(sum(m["against"]["rel_error"] ** 2 for m in modules) / len(modules)) if compared else None
    return {
        "modules": modules,
        "unpaired": [],
        "changed": [],
        "total": {
            "modules": len(modules),
            "compared": len(modules) if compared else 0,
            "weights": weights,
            "stored_bytes": int(stored),
            "bits_per_weight": 8 * stored / weights,
            "rms": 0.02,
            "absmax": 0.5,
            "against": error and {"rel_error": error, "sqnr_db": -20 * math.log10(error), "cosine": 1 - error * error / 2},
            "complete": True,
        },
    }


def facts(architecture, warnings=()):
    return {"architecture": architecture, "format": "GPTQ", "warnings": list(warnings), "synthetic": True}


def llama(layers=80, hidden=8192, inter=28672, kv=1024, bits=4, compared=True, seed=1):
    """Of the shape of Llama-3-70B: 560 modules."""
    rng = random.Random(seed)
    shapes = [[hidden, hidden], [kv, hidden], [kv, hidden], [hidden, hidden], [inter, hidden], [inter, hidden], [hidden, inter]]
    modules = []
    for layer in range(layers):
        depth = 1 + 0.5 * math.exp(-layer / 2) + (0.35 if layer > layers - 3 else 0)
        for kind, shape, base in zip(LLAMA, shapes, (1.0, 1.1, 0.92, 0.96, 1.0, 1.02, 1.07)):
            error = 0.085 * 2.0 ** (4 - bits) * base * depth * rng.uniform(0.95, 1.08) if compared else None
            modules.append(module("model.layers.%d.%s" % (layer, kind), shape, error, bits, rng.uniform(0.13, 0.19), 0.012 / depth, rng))
    modules.append(module("lm_head", [128256, hidden], 0.061 if compared else None, 8, rng=rng))
    return stats(modules, compared), facts("LlamaForCausalLM")


def moe(layers=48, experts=128, compared=True):
    """Of the shape of Qwen3-30B-A3B: 18432 experts."""
    rng = random.Random(2)
    modules = []
    for layer in range(layers):
        for kind, shape in zip(LLAMA[:4], ([4096, 2048], [512, 2048], [512, 2048], [2048, 4096])):
            modules.append(module("model.layers.%d.%s" % (layer, kind), shape, compared and rng.uniform(0.07, 0.1), rng=rng))
        for expert in range(experts):
            for kind, shape in zip(LLAMA[4:], ([768, 2048], [768, 2048], [2048, 768])):
                error = 0.08 * rng.lognormvariate(0, 0.12) * (1.6 if rng.random() < 0.01 else 1) if compared else None
                modules.append(module("model.layers.%d.mlp.experts.%d.%s" % (layer, expert, kind.split(".")[1]), shape, error, rng=rng))
    return stats(modules, compared), facts("Qwen3MoeForCausalLM")


def hostile():
    """Names, texts and shapes that no model has."""
    rng = random.Random(3)
    names = ["model.layers.%d.%s" % (10 ** (i % 9), MARKUP) for i in range(9)]
    names += ["model.layers.0." + "long" * 5000, MARKUP * 20, "", ".", "0", "a.0", "x.99999999999999999999.y"]
    names += ["stack%d.0.q_proj" % i for i in range(40)] + ["m.layers.0.kind%d" % i for i in range(60)]
    names += ["deep.%d.q_proj" % i for i in range(700)]
    modules = [module(name, [64, 64], rng.uniform(0.001, 0.9), rng=rng) for name in names]
    modules[0]["codes"] = modules[1]["scales"] = modules[2]["against"] = None
    modules[3]["against"] = {"rel_error": None, "sqnr_db": None, "max_abs": None, "max_at": [0, 0], "cosine": None}
    modules[4]["rms"] = modules[4]["absmax"] = modules[4]["bits"] = modules[4]["group_size"] = modules[4]["codes"] = None
    for m in modules:
        m["against"] = m["against"] or None
    out = stats([m for m in modules if m["against"] and m["against"]["rel_error"]], True)
    out["modules"] = modules
    out["unpaired"] = [{"name": MARKUP + str(i), "reason": "absent", "of": "model"} for i in range(500)]
    out["changed"] = [{"name": MARKUP, "against": modules[3]["against"]}]
    out["total"]["complete"] = False
    return out, facts(MARKUP, [MARKUP * 30] * 150)
