# SPDX-License-Identifier: MIT
"""How each family stores one linear layer: names, types, shapes and contents of tensors. The bytes are meaningless but
valid: no scale is infinite, and packings and shapes are consistent.
"""

import json
import struct

GROUP = 128  # of AWQ and compressed-tensors, as GPTQ's
NF4 = """bf800000 bf3239b1 bf066b30 beca32a0 be91a24d be3d353f bdba7871 00000000
3da2faff 3e24cae3 3e7c04dd 3ead033a 3ee1a4b8 3f1007ab 3f3913b3 3f800000"""


def literal(dtype, shape, data):
    return dtype, shape, ("bytes", data)


def text(s):
    return literal("U8", [len(s)], s.encode())


def awq(n, k):
    return {
        "qweight": ("I32", [k, n // 8], "codes"),
        "qzeros": ("I32", [k // GROUP, n // 8], "codes"),
        "scales": ("F16", [k // GROUP, n], "scales"),
    }


def ct_int4(n, k):
    return {
        "weight_packed": ("I32", [n, k // 8], "codes"),
        "weight_scale": ("BF16", [n, k // GROUP], "bf16"),
        "weight_shape": literal("I64", [2], struct.pack("<2q", n, k)),
    }


def ct_int8(n, k):
    return {"weight": ("I8", [n, k], "codes"), "weight_scale": ("BF16", [n, 1], "bf16")}


def fp8_block(n, k):
    return {"weight": ("F8_E4M3", [n, k], "fp8"), "weight_scale_inv": ("F32", [-(-n // 128), -(-k // 128)], "f32")}


def fp8_row(n, k):
    return {"weight": ("F8_E4M3", [n, k], "fp8"), "weight_scale": ("BF16", [n, 1], "bf16")}


def mxfp4(n, k):
    return {"weight_packed": ("U8", [n, k // 2], "codes"), "weight_scale": ("U8", [n, k // 32], "e8m0")}


def nvfp4(n, k):
    return {
        "weight_packed": ("U8", [n, k // 2], "codes"),
        "weight_scale": ("F8_E4M3", [n, k // 16], "fp8"),
        "weight_global_scale": literal("F32", [1], struct.pack("<f", 6000)),
    }


def nf4(n, k):
    blocks = n * k // 64
    state = {
        "quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [n, k],
        "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.044,
    }
    levels = struct.pack("<256f", *(i / 127 - 1 for i in range(256)))
    return {
        "weight": ("U8", [n * k // 2, 1], "codes"),
        "weight.absmax": ("U8", [blocks], "codes"),
        "weight.quant_map": literal("F32", [16], struct.pack("<16I", *(int(x, 16) for x in NF4.split()))),
        "weight.nested_absmax": ("F32", [-(-blocks // 256)], "f32"),
        "weight.nested_quant_map": literal("F32", [256], levels),
        "weight.quant_state.bitsandbytes__nf4": text(json.dumps(state)),
    }


def int8(n, k):
    return {
        "weight": ("I8", [n, k], "codes"), "SCB": ("F32", [n], "f32"),
        "weight_format": literal("U8", [], b"\0"),
    }


def mlx4(n, k):
    parameters = "BF16", [n, k // 64], "bf16"
    return {"weight": ("U32", [n, k // 8], "codes"), "scales": parameters, "biases": parameters}


def hqq4(n, k):
    groups = n * k // 64
    number = lambda x: literal("I32", [], struct.pack("<i", x))
    truth = lambda x: literal("U8", [], bytes([x]))
    return {
        "W_q": ("U8", [groups // 2, 64], "codes"),
        "scale": ("BF16", [groups, 1], "bf16"),
        "zero": ("BF16", [groups, 1], "bf16"),
        "shape": literal("I64", [2], struct.pack("<2q", n, k)),
        "nbits": number(4), "group_size": number(64), "axis": number(1), "packing": text("4bit_u8"),
        "compute_dtype": text("torch.bfloat16"), "unpack_view_dtype": text("torch.uint8"),
        "view_as_float": truth(0), "channel_wise": truth(1), "optimize": truth(1), "round_zero": truth(1),
        "quant_scale": truth(0), "quant_zero": truth(0), "offload_meta": truth(0), "stores_quant_config": truth(1),
        "encoded_state_dict": truth(1),
    }


def groups_of(**weights):
    return {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": None}}


FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
MLX = {"group_size": 64, "bits": 4, "mode": "affine"}
BNB = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
CT = {"quant_method": "compressed-tensors", "version": "0.19.0"}

# NAME: (tensors of a layer, quantization configuration, other members of config.json)
FAMILIES = {
    "awq": (awq, {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}, {}),
    "ct-int4": (ct_int4, {**CT, "format": "pack-quantized", "config_groups": groups_of(
        num_bits=4, type="int", symmetric=True, strategy="group", group_size=GROUP)}, {}),
    "ct-int8": (ct_int8, {**CT, "format": "int-quantized", "config_groups": groups_of(
        num_bits=8, type="int", symmetric=True, strategy="channel")}, {}),
    "fp8": (fp8_block, FP8, {}),
    "fp8-row": (fp8_row, {**CT, "format": "float-quantized", "config_groups": groups_of(
        num_bits=8, type="float", symmetric=True, strategy="channel")}, {}),
    "mxfp4": (mxfp4, {**CT, "format": "mxfp4-pack-quantized"}, {}),
    "nvfp4": (nvfp4, {**CT, "format": "nvfp4-pack-quantized"}, {}),
    "nf4": (nf4, BNB, {}),
    "int8": (int8, {"quant_method": "bitsandbytes", "load_in_8bit": True}, {}),
    "mlx4": (mlx4, None, {"quantization": MLX, "quantization_config": MLX}),
    "hqq4": (hqq4, {"quant_method": "hqq", "quant_config": {"nbits": 4, "group_size": 64, "axis": 1}}, {}),
}
