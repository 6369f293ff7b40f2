# SPDX-License-Identifier: MIT
"""Kinds of make_checkpoint.py with MXFP4, MXFP6 and NVFP4, alone and beside GPTQ, and with what is refused."""
import struct

from checkpoint import KINDS, Model, Q, decode_f8, f32, kind, served

E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
E2M3 = [i / 8 for i in (*range(8), *range(8, 16), *range(16, 32, 2), *range(32, 64, 4))]


def value_of(code, bits):
    """OCP: a sign, then the values in the order of their codes."""
    half = 1 << (bits - 1)
    magnitude = (E2M1 if bits == 4 else E2M3)[code % half]
    return -magnitude if code >= half else magnitude


def packed(codes, bits):
    """A stream of bits, the first code lowest."""
    stream = sum(code << (bits * i) for i, code in enumerate(codes))
    return stream.to_bytes(len(codes) * bits // 8, "little")


def matrix(rnd, n, k, group, bits, scale_dtype, combine):
    """Stored codes and scales of an [n, k] matrix, by row, and its values."""
    codes, scales, values = [], [], []
    for _ in range(n):
        row = [rnd.randrange(1 << bits) for _ in range(k)]
        if scale_dtype == "U8":
            stored = [rnd.randrange(118, 128) for _ in range(k // group)]
            factors = [2.0 ** (x - 127) for x in stored]
        else:
            stored = [rnd.randrange(0x7F) for _ in range(k // group)]
            factors = [combine(decode_f8(x, "F8_E4M3")) for x in stored]
        codes.append(packed(row, bits))
        scales.append(bytes(stored))
        values += [f32(value_of(code, bits) * factors[i // group]) for i, code in enumerate(row)]
    return codes, scales, values


def module(model, name, n, k, layout, global_scale=1.0):
    """An [n, k] Linear as one of the producers stores it."""
    bits = 6 if layout == "mxfp6" else 4
    nv = layout.startswith("nvfp4")
    global_scale = f32(global_scale)
    combine = {"nvfp4_ct": lambda s: f32(s / global_scale), "nvfp4": lambda s: f32(s * global_scale)}.get(layout)
    group, scale_dtype = (16, "F8_E4M3") if nv else (32, "U8")
    codes, scales, values = matrix(model.random, n, k, group, bits, scale_dtype, combine)
    weight = ".weight_packed" if layout in ("mxfp4_ct", "mxfp6", "nvfp4_ct") else ".weight"
    scale = ".scale" if layout == "deepseek" else ".weight_scale"
    model.stored[name + weight] = ["I8" if layout == "deepseek" else "U8", [n, k * bits // 8], b"".join(codes)]
    model.stored[name + scale] = ["F8_E8M0" if layout == "deepseek" else scale_dtype, [n, k // group], b"".join(scales)]
    if layout == "nvfp4_ct":
        model.stored[name + ".weight_global_scale"] = ["F32", [1], struct.pack("<f", global_scale)]
        model.stored[name + ".input_global_scale"] = ["F32", [1], struct.pack("<f", 123.0)]
    if layout == "nvfp4":
        model.stored[name + ".weight_scale_2"] = ["F32", [], struct.pack("<f", global_scale)]
        model.stored[name + ".input_scale"] = ["F32", [], struct.pack("<f", 0.5)]
    model.dense[name + ".weight"] = ([n, k], values)


def experts(model, name, count, n, k):
    """gpt-oss: the matrices of all experts, and the dense tensor that holds them transposed."""
    codes, scales, dense = b"", b"", []
    for _ in range(count):
        c, s, values = matrix(model.random, n, k, 32, 4, "U8", None)
        codes, scales = codes + b"".join(c), scales + b"".join(s)
        dense += [values[row * k + i] for i in range(k) for row in range(n)]
    model.stored[name + "_blocks"] = ["U8", [count, n, k // 32, 16], codes]
    model.stored[name + "_scales"] = ["U8", [count, n, k // 32], scales]
    model.dense[name] = ([count, k, n], dense)


def llama(**quant):
    model = Model()
    model.quant = quant
    model.plain("model.embed_tokens.weight", [32, 64])
    model.plain("model.norm.weight", [64])
    return model


# ---- good ones ----

@kind
def mxfp6(path):
    """compressed-tensors: four codes in three bytes."""
    model = llama(quant_method="compressed-tensors", format="mxfp6-pack-quantized")
    module(model, Q, 64, 96, "mxfp6")
    module(model, "model.layers.0.mlp.down_proj", 33, 32, "mxfp6")
    served(path, model, quantize_config=False)


@kind
def fp4_mixed(path):
    """Every way to store codes of four bits as floats, in one model that is GPTQ's for the rest. Odd numbers of groups."""
    model = Model().usual()
    layer = "model.layers.0."
    module(model, layer + "self_attn.k_proj", 33, 96, "mxfp4_ct")
    model.stored[layer + "self_attn.k_proj.weight_zero_point"] = ["I8", [33, 3], b"\0" * 99]
    module(model, layer + "self_attn.v_proj", 33, 64, "mxfp4")
    module(model, layer + "self_attn.o_proj", 64, 80, "nvfp4_ct", 1234.5678)
    module(model, layer + "mlp.up_proj", 50, 48, "nvfp4", 1.2345e-4)
    module(model, layer + "mlp.gate_proj", 50, 160, "deepseek")
    module(model, layer + "mlp.shared.up_proj", 2, 32, "mxfp6")
    experts(model, layer + "mlp.experts.gate_up_proj", 3, 45, 96)
    served(path, model)


@kind
def deepseek_and_int8(path):
    """Modules of one name: codes of DeepSeek-V4's layout, and bytes of compressed-tensors, which are I8 too."""
    other = "model.layers.1.self_attn.q_proj"
    weights = {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}
    model = llama(quant_method="compressed-tensors", format="int-quantized",
                  config_groups={"group_0": {"targets": ["re:.*layers.1.self_attn.q_proj$"], "weights": weights}})
    module(model, Q, 64, 64, "deepseek")
    codes = [model.random.randrange(-128, 128) for _ in range(64 * 64)]
    scales = [2.0 ** -model.random.randrange(8) for _ in range(64)]
    model.stored[other + ".weight"] = ["I8", [64, 64], struct.pack("4096b", *codes)]
    model.stored[other + ".weight_scale"] = ["F32", [64, 1], struct.pack("<64f", *scales)]
    model.dense[other + ".weight"] = ([64, 64], [code * scales[i // 64] for i, code in enumerate(codes)])
    served(path, model, quantize_config=False)


@kind
def fp4_gpt2(path):
    """A Conv1D is [in_features, out_features] in the model; AutoRound packs it the other way round."""
    model = llama(quant_method="auto-round", data_type="mx_fp")
    model.config.update(model_type="gpt2", architectures=["GPT2LMHeadModel"])
    for name, n, k, layout in ("attn.c_attn", 96, 32, "mxfp4_ct"), ("attn.c_proj", 64, 64, "mxfp4_ct"), \
                              ("mlp.c_fc", 33, 80, "nvfp4_ct"):
        name = "transformer.h.0." + name
        module(model, name, n, k, layout, 1234.5678)
        (_, values) = model.dense[name + ".weight"]
        model.dense[name + ".weight"] = ([k, n], [values[j * k + i] for i in range(k) for j in range(n)])
    name, codes = "transformer.h.0.mlp.c_proj.weight", bytes(i % 0x7F for i in range(33 * 64))
    model.stored[name], model.stored[name + "_scale"] = ["F8_E4M3", [33, 64], codes], ["U8", [33, 2], bytes(range(55, 121))]
    model.dense[name] = ([64, 33], [decode_f8(codes[j * 64 + i], "F8_E4M3") * 2.0 ** (55 + j * 2 + i // 32 - 127)
                                    for i in range(64) for j in range(33)])
    served(path, model, quantize_config=False)


@kind
def quark_rotated_weights(path):
    """Rotations that are undone in other weights: the model is an ordinary one."""
    model = llama(quant_method="quark", algo_config=[{"name": "rotation", "r1": True, "r2": True, "r3": False, "r4": False,
                                                      "online_r1_rotation": False}])
    module(model, Q, 64, 64, "mxfp4")
    served(path, model, quantize_config=False)


# ---- what is refused ----

def refused(name, layout, spoil, **quant):
    """A model of one module of that layout, after spoil(stored)."""
    def write(path):
        model = llama(**(quant or {"quant_method": "modelopt"}))
        if layout == "gptoss":
            experts(model, "model.layers.0.mlp.experts.down_proj", 2, 64, 64)
        else:
            module(model, Q, 64, 64, layout, 0.5)
        spoil(model.stored)
        model.write(path, quantize_config=False)
    KINDS[name] = write


def drop(name):
    return lambda stored: stored.pop(name)


def put(name, dtype, shape, size):
    return lambda stored: stored.update({name: [dtype, shape, b"\1" * size]})


refused("nvfp4_no_scale", "nvfp4_ct", drop(Q + ".weight_scale"))
refused("nvfp4_no_global", "nvfp4_ct", drop(Q + ".weight_global_scale"))
refused("nvfp4_no_scale_2", "nvfp4", drop(Q + ".weight_scale_2"))
refused("nvfp4_two_globals", "nvfp4", put(Q + ".weight_scale_2", "F32", [2], 8))
refused("nvfp4_padded", "nvfp4", put(Q + ".weight_scale", "F8_E4M3", [128, 4], 512))
refused("nvfp4_padded_columns", "nvfp4", put(Q + ".weight_scale", "F8_E4M3", [64, 8], 512))
refused("nvfp4_e5m3", "nvfp4_ct", put(Q + ".weight_scale", "U8", [64, 4], 256))
refused("nvfp4_awq", "nvfp4", put(Q + ".pre_quant_scale", "F16", [64], 128))
refused("nvfp4_svdquant", "nvfp4", put(Q + ".weight_quantizer.svdquant_lora_a", "F16", [4, 64], 512))
refused("nvfp4_rotated", "nvfp4_ct", lambda stored: None, quant_method="compressed-tensors",
        transform_config={"config_groups": {"R1": {"type": "hadamard"}}})
refused("mxfp4_rotated", "mxfp4_ct", lambda stored: None, quant_method="auto-round", data_type="mx_fp",
        rotation_config={"block_size": 32, "hadamard_type": "hadamard"})
refused("quark_r4", "mxfp4", lambda stored: None, quant_method="quark",
        algo_config=[{"name": "rotation", "r1": True, "r2": True, "r3": False, "r4": True, "online_r1_rotation": False}])
refused("quark_input_rotation", "mxfp4", put(Q + ".input_rotation", "I8", [64, 64], 4096), quant_method="quark")
refused("nvfp4_comfy", "nvfp4", put(Q + ".comfy_quant", "U8", [19], 19))
refused("mxint4", "mxfp4_ct", lambda stored: None, quant_method="auto-round", data_type="mx_int")
refused("mxint4_layer", "mxfp4_ct", lambda stored: None, quant_method="auto-round", data_type="mx_fp",
        extra_config={"lm_head": {"bits": 16}, Q: {"data_type": "mx_int"}})
refused("mxfp4_zero_point", "mxfp4_ct", put(Q + ".weight_zero_point", "I8", [64, 2], 128))
refused("mxfp4_other_without", "mxfp4", put("model.layers.1.self_attn.q_proj.weight", "U8", [64, 32], 2048))
refused("deepseek_other_without", "deepseek", put("model.layers.1.self_attn.q_proj.weight", "I8", [64, 32], 2048))
refused("mxfp4_f32_scale", "mxfp4", put(Q + ".weight_scale", "F32", [64, 2], 512))
refused("mxfp4_no_scale", "mxfp4_ct", drop(Q + ".weight_scale"))
refused("mxfp4_other_scale", "mxfp4_ct", put(Q + ".weight_scale", "BF16", [64, 2], 256))
refused("mxfp4_wide_groups", "mxfp4", put(Q + ".weight_scale", "U8", [64, 1], 64))
refused("mxfp6_narrow", "mxfp6", put(Q + ".weight_packed", "U8", [64, 40], 2560))
refused("gptoss_no_scales", "gptoss", drop("model.layers.0.mlp.experts.down_proj_scales"))
refused("gptoss_short_blocks", "gptoss", put("model.layers.0.mlp.experts.down_proj_blocks", "U8", [2, 64, 2, 8], 2048))
refused("gptoss_fewer_scales", "gptoss", put("model.layers.0.mlp.experts.down_proj_scales", "U8", [1, 64, 2], 128))
