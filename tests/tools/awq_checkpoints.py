# SPDX-License-Identifier: MIT
"""Kinds of make_checkpoint.py in AWQ's layouts, packed as AutoAWQ's writers do it."""
from checkpoint import Model, Q, decode, encode, f32, kind, served, words, write_json

ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # which of eight columns nibbles 0, 1, ... of a word are for


def columns(row):
    """A row of words that are packed across columns."""
    return [sum(row[i + ORDER[j]] << 4 * j for j in range(8)) for i in range(0, len(row), 8)]


def along(row):
    return [sum(code << 4 * j for j, code in enumerate(row[i:i + 8])) for i in range(0, len(row), 8)]


def padded(row, length, zero):
    return row + [zero] * (length - len(row))


def linear(m, name, k, n, scale="F16", zeros=True):
    """One Linear of k inputs and n outputs, in the layout that the configuration says."""
    rnd = m.random
    size = m.quant.get("group_size") or m.quant.get("q_group_size")
    size = size if size > 0 else k
    groups = (k + size - 1) // size
    codes = [[rnd.randrange(16) for _ in range(k)] for _ in range(n)]
    zero = [[rnd.randrange(16) if zeros else 8 for _ in range(groups)] for _ in range(n)]
    scales = [[encode(rnd.uniform(-0.02, 0.02), scale) for _ in range(groups)] for _ in range(n)]
    if m.quant["version"].lower() == "gemv":
        at_once = 1 if size >= 128 else 2 if size == 64 else 4
        slots = ((groups + 7) // 8 + at_once - 1) // at_once * at_once * 8
        m.stored[name + ".qweight"] = ["I32", [n, k // 8], words([along(row) for row in codes])]
        if zeros:
            m.stored[name + ".qzeros"] = ["I32", [n, slots // 8], words([along(padded(row, slots, 0)) for row in zero])]
        rows = [padded(row, slots, bytes(2)) for row in scales]
        m.stored[name + ".scales"] = [scale, [n, slots], b"".join(b"".join(row) for row in rows)]
    else:
        m.stored[name + ".qweight"] = ["I32", [k, n // 8], words([columns(row) for row in zip(*codes)])]
        if zeros:
            m.stored[name + ".qzeros"] = ["I32", [groups, n // 8], words([columns(row) for row in zip(*zero)])]
        m.stored[name + ".scales"] = [scale, [groups, n], b"".join(b"".join(row) for row in zip(*scales))]
    m.dense[name + ".weight"] = ([n, k], [f32(decode(scales[j][i // size], scale) * (codes[j][i] - zero[j][i // size]))
                                          for j in range(n) for i in range(k)])


def model(**quant):
    """Without GPTQ's settings."""
    m = Model()
    m.quant = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm", **quant}
    return m


def usual(m, k=128, **options):
    m.plain("model.embed_tokens.weight", [32, k])
    linear(m, Q, k, 64, **options)
    linear(m, "model.layers.0.mlp.down_proj", 3 * k, 64, **options)
    m.plain("model.norm.weight", [k])
    return m


@kind
def awq_gemv(path):
    """K = 128 in two groups of 64, with the shapes of a GPTQ matrix; zeros and scales are padded to 16 groups."""
    served(path, usual(model(version="gemv", group_size=64)))


@kind
def awq_gemv_g32(path):
    served(path, usual(model(version="GEMV")))


@kind
def awq_gemv_g128(path):
    served(path, usual(model(version="gemv", group_size=128)))


@kind
def awq_old(path):
    """The first AutoAWQ: quant_config.json alone, without a method."""
    m = usual(model())
    m.quant = {"zero_point": True, "q_group_size": 32, "w_bit": 4, "version": "GEMM"}
    served(path, m, quantize_config=False, config=False)
    write_json(path, "quant_config.json", m.quant)
    write_json(path, "config.json", m.config)


@kind
def awq_no_zeros(path):
    served(path, usual(model(zero_point=False), zeros=False))


@kind
def awq_not_symmetric(path):
    """Zeros of all values, although the configuration says that there are none."""
    served(path, usual(model(zero_point=False)))


@kind
def awq_bf16(path):
    served(path, usual(model(), scale="BF16"))


@kind
def awq_ragged(path):
    """A last group that is short."""
    m = usual(model(group_size=48))
    linear(m, "model.layers.0.mlp.up_proj", 100, 24)
    served(path, m)


@kind
def awq_one_group(path):
    served(path, usual(model(group_size=-1)))


@kind
def awq_unlabelled(path):
    """No configuration at all: GEMM shows in the shapes, and groups divide evenly."""
    served(path, usual(model()), quantize_config=False, config=False)


@kind
def awq_autoround(path):
    """AutoRound's own label."""
    m = usual(model())
    m.quant = {"quant_method": "auto-round", "packing_format": "auto_round:auto_awq", "bits": 4, "group_size": 32,
               "version": "gemm"}
    served(path, m)


@kind
def awq_gpt2(path):
    """A Conv1D, whose weight the class keeps as [in_features, out_features]."""
    m = model()
    m.config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    name = "transformer.h.0.attn.c_attn"
    linear(m, name, 64, 192)
    (n, k), values = m.dense[name + ".weight"]
    m.dense[name + ".weight"] = ([k, n], [values[j * k + i] for i in range(k) for j in range(n)])
    served(path, m)


# What cannot be served.

def bad(name, spoil=None, **quant):
    def write(path):
        m = usual(model(**quant))
        if spoil:
            spoil(m.stored)
        m.write(path)
    write.__name__ = name
    kind(write)


bad("awq_marlin", version="marlin")
bad("awq_8_bits", bits=8)
bad("awq_activation", lambda t: t.update({"model.layers.0.mlp.act.scales": ["F16", [64], bytes(128)]}))
bad("awq_no_scales", lambda t: t.pop(Q + ".scales"))
bad("awq_no_qweight", lambda t: t.pop(Q + ".qweight"))
bad("awq_both", lambda t: t.update({Q + ".weight": ["F16", [64, 128], bytes(64 * 256)]}))
bad("awq_zeros_shape", lambda t: t.update({Q + ".qzeros": ["I32", [2, 8], bytes(64)]}))
bad("awq_scales_type", lambda t: t.update({Q + ".scales": ["I16", [4, 64], bytes(512)]}))
bad("awq_groups", lambda t: t.update({Q + ".qzeros": ["I32", [3, 8], bytes(96)], Q + ".scales": ["F16", [3, 64], bytes(384)]}))


@kind
def awq_gemv_slots(path):
    """Room for other groups than the configuration's group size makes."""
    m = usual(model(version="gemv"))
    m.quant["group_size"] = 128
    m.write(path)


@kind
def awq_shape_of_gptq(path):
    """Labelled AWQ, packed as GPTQ."""
    m = Model().usual()
    m.quant = {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm"}
    m.write(path)


@kind
def gptq_shape_of_awq(path):
    """Labelled GPTQ, packed as AWQ."""
    m = usual(model())
    m.quant = {"quant_method": "gptq", "bits": 4, "group_size": 32}
    m.write(path)
