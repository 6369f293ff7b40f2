# SPDX-License-Identifier: MIT
"""Kinds of make_checkpoint.py in the formats of bitsandbytes, from the description of them: good ones and damaged ones."""
import json
import struct

from checkpoint import KINDS, Model, Q, f32, kind, served
from moe_checkpoints import experts_of, stack

NF4 = ("bf800000 bf3239b1 bf066b30 beca32a0 be91a24d be3d353f bdba7871 00000000 "
       "3da2faff 3e24cae3 3e7c04dd 3ead033a 3ee1a4b8 3f1007ab 3f3913b3 3f800000")
FP4 = ("00000000 3baaaaab 3f2aaaab 3f800000 3eaaaaab 3f000000 3e2aaaab 3e800000 "
       "00000000 bbaaaaab bf2aaaab bf800000 beaaaaab bf000000 be2aaaab be800000")
STEP = struct.unpack(">f", bytes.fromhex("3c010204"))[0]


def table(kind_of):
    return [struct.unpack(">f", bytes.fromhex(word))[0] for word in (NF4 if kind_of == "nf4" else FP4).split()]


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


class Bnb(Model):
    def __init__(self, **config):
        super().__init__()
        self.quant = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
        self.config.update(config)
        self.state = {}  # name -> the members of its quant_state

    def four(self, name, shape, kind_of="nf4", nested=True, storage="U8", block=64, transposed=False):
        """The tensor `name`: one weight in each nibble, the high one first, blocks without regard to rows."""
        rnd, count = self.random, 1
        for d in shape:
            count *= d
        blocks = -(-count // block)
        codes = [rnd.randrange(16) for _ in range(count)]
        packed = bytes(a << 4 | b for a, b in zip(codes[::2], codes[1::2] + [0] * (count % 2)))
        state = {"quant_type": kind_of, "blocksize": block, "dtype": "bfloat16", "shape": shape}
        if nested:
            offset = f32(rnd.uniform(0.01, 0.09))
            byte = [rnd.randrange(256) for _ in range(blocks)]
            outer = [f32(rnd.uniform(0.001, 0.02)) for _ in range(-(-blocks // 256))]
            values = [f32(-1 + i / 128) for i in range(256)]
            scales = [f32(f32(values[u] * outer[i // 256]) + offset) for i, u in enumerate(byte)]
            state.update(nested_blocksize=256, nested_dtype="float32", nested_offset=offset)
            self.stored[name + ".absmax"] = ["U8", [blocks], bytes(byte)]
            self.stored[name + ".nested_absmax"] = ["F32", [len(outer)], floats(outer)]
            self.stored[name + ".nested_quant_map"] = ["F32", [256], floats(values)]
        else:
            scales = [f32(rnd.uniform(0.01, 0.09)) for _ in range(blocks)]
            self.stored[name + ".absmax"] = ["F32", [blocks], floats(scales)]
        size = {"U8": 1, "F16": 2, "BF16": 2, "F32": 4}[storage]
        self.stored[name] = [storage, [len(packed) // size, 1], packed]
        self.stored[name + ".quant_map"] = ["F32", [16], floats(table(kind_of))]
        self.state[name] = state
        dense = [f32(table(kind_of)[code] * scales[i // block]) for i, code in enumerate(codes)]
        self.put(name, shape, dense, transposed)

    def eight(self, module, n, k, transposed=False):
        codes = [self.random.randrange(-127, 128) for _ in range(n * k)]
        scales = [f32(self.random.uniform(0.1, 2)) for _ in range(n)]
        self.stored[module + ".weight"] = ["I8", [n, k], struct.pack(f"<{n * k}b", *codes)]
        self.stored[module + ".SCB"] = ["F32", [n], floats(scales)]
        self.stored[module + ".weight_format"] = ["U8", [], b"\0"]
        dense = [f32(f32(code * scales[i // k]) * STEP) for i, code in enumerate(codes)]
        self.put(module + ".weight", [n, k], dense, transposed)

    def put(self, name, shape, dense, transposed):
        if transposed:
            n, k = shape
            shape, dense = [k, n], [dense[i * k + j] for j in range(k) for i in range(n)]
        self.dense[name] = (shape, dense)

    def write(self, path, **options):
        for name, state in self.state.items():
            text = state if isinstance(state, bytes) else json.dumps(state).encode()
            kind_of = state["quant_type"] if isinstance(state, dict) else "nf4"
            self.stored.setdefault(f"{name}.quant_state.bitsandbytes__{kind_of}", ["U8", [len(text)], text])
        super().write(path, quantize_config=False, **options)


def usual():
    m = Bnb()
    m.plain("model.embed_tokens.weight", [32, 64], "BF16")
    m.four(Q + ".weight", [64, 64])
    m.plain("model.norm.weight", [64], "BF16")
    return m


@kind
def bnb_odd(path):
    """Rows that begin inside a byte, an odd number of weights, large and small blocks, both tables, all types of storage."""
    m = usual()
    mlp = "model.layers.0.mlp."
    m.four(mlp + "down_proj.weight", [21, 45], block=32)
    m.four(mlp + "up_proj.weight", [150, 301], "fp4", block=128)
    m.four(mlp + "gate_proj.weight", [150, 301], "fp4", nested=False, block=4096)
    for i, storage in enumerate(["F16", "BF16", "F32"]):
        m.four(f"model.layers.{i}.self_attn.o_proj.weight", [24, 40], nested=i % 2 > 0, storage=storage)
    m.plain("model.layers.0.mlp.down_proj.bias", [21], "F16")
    served(path, m)


@kind
def bnb_both(path):
    """4 and 8 bits in one model, and an FP8 tensor beside them."""
    m = usual()
    m.eight("model.layers.0.mlp.up_proj", 33, 47)
    m.eight("model.layers.0.mlp.down_proj", 64, 96)
    m.float8("model.layers.0.mlp.table", [16, 16], "F8_E5M2")
    served(path, m)


@kind
def bnb_conv1d(path):
    """What was quantized is the transpose of a Conv1D's weight, square or not; the head is a Linear."""
    m = Bnb(model_type="gpt2")
    layer = "transformer.h.0."
    m.four(layer + "attn.c_attn.weight", [90, 30], transposed=True)
    m.four(layer + "attn.c_proj.weight", [30, 30], transposed=True)
    m.eight(layer + "mlp.c_fc", 50, 30, transposed=True)
    m.eight(layer + "mlp.c_proj", 30, 50, transposed=True)
    m.four("lm_head.weight", [40, 30], nested=False)
    served(path, m)


@kind
def bnb_experts_3d(path):
    """Experts in one parameter: its blocks run on from one to the next."""
    m = usual()
    m.four("model.layers.0.mlp.experts.gate_up_proj", [3, 10, 27])
    m.four("model.layers.0.mlp.experts.down_proj", [3, 27, 5], nested=False)
    served(path, m)


@kind
def bnb_gpt_oss(path):
    """unsloth's: each expert a Linear, with a bias, and a router in another place than the class has it."""
    m, count = Bnb(model_type="gpt_oss", num_local_experts=11), 11
    experts = "model.layers.0.mlp.experts."
    for i in range(count):
        m.four(f"{experts}gate_up_projs.{i}.weight", [48, 40])
        m.four(f"{experts}down_projs.{i}.weight", [40, 24])
        m.plain(f"{experts}gate_up_projs.{i}.bias", [48], "BF16")
        m.plain(f"{experts}down_projs.{i}.bias", [40], "BF16")
    for name in "gate_up_proj", "down_proj":
        stack(m, experts + name, experts_of(f"{experts}{name}s.", count, "weight"), "columns")
        stack(m, f"{experts}{name}_bias", experts_of(f"{experts}{name}s.", count, "bias"), "rows")
    router = "model.layers.0.mlp.router."
    for name, shape in ("weight", [count, 40]), ("bias", [count]):
        m.plain(f"{router}linear.{name}", shape, "BF16")
        m.dense[router + name] = m.dense.pop(f"{router}linear.{name}")
    served(path, m)


@kind
def bnb_other_map(path):
    """The table in the file is not that of its type; readers do not look."""
    m = usual()
    m.stored[Q + ".weight.quant_map"][2] = floats(table("fp4"))
    served(path, m)


# Damaged ones.

def spoiled(name, edit):
    def write(path):
        m = usual()
        edit(m)
        m.write(path)
    KINDS[name] = write


def state_of(**members):
    def edit(m):
        state = m.state[Q + ".weight"]
        state.update(members)
        for key in [key for key, value in state.items() if value is None]:
            del state[key]
    return edit


def tensor_of(suffix, dtype, shape, size):
    return lambda m: m.stored.update({Q + suffix: [dtype, shape, bytes(size)]})


def text_of(text):
    return lambda m: m.state.update({Q + ".weight": text})


def without(suffix):
    return lambda m: m.stored.pop(Q + suffix)


def eight_of(**edits):
    def edit(m):
        m.eight("model.layers.0.mlp.up_proj", 8, 8)
        for suffix, tensor in edits.items():
            m.stored["model.layers.0.mlp.up_proj." + suffix] = tensor
    return edit


spoiled("bnb_no_json", text_of(b"nonsense"))
spoiled("bnb_long_json", text_of(b'{"a": "' + b"x" * 5000 + b'"}'))
spoiled("bnb_array", text_of(b"[[]]"))
spoiled("bnb_deep_json", text_of(b"[" * 1000 + b"]" * 1000))
spoiled("bnb_key_twice", text_of(b'{"quant_type": "nf4", "quant_type": "nf4"}'))
spoiled("bnb_other_type", text_of(json.dumps({"quant_type": "fp4"}).encode()))
spoiled("bnb_block_63", state_of(blocksize=63))
spoiled("bnb_block_0", state_of(blocksize=0))
spoiled("bnb_block_huge", state_of(blocksize=1 << 40))
spoiled("bnb_block_text", state_of(blocksize="64"))
spoiled("bnb_no_shape", state_of(shape=None))
spoiled("bnb_shape_1d", state_of(shape=[4096]))
spoiled("bnb_shape_negative", state_of(shape=[-64, -64]))
spoiled("bnb_shape_zero", state_of(shape=[0, 64]))
spoiled("bnb_shape_huge", state_of(shape=[1 << 31, 1 << 22]))
spoiled("bnb_shape_overflow", state_of(shape=[1 << 31, 1 << 31, 1 << 2]))
spoiled("bnb_shape_other", state_of(shape=[64, 63]))
spoiled("bnb_nested_offset", state_of(nested_offset=None))
spoiled("bnb_nested_dtype", state_of(nested_dtype="bfloat16"))
spoiled("bnb_nested_block", state_of(nested_blocksize=100))
spoiled("bnb_no_weight", without(".weight"))
spoiled("bnb_no_absmax", without(".weight.absmax"))
spoiled("bnb_no_nested_map", without(".weight.nested_quant_map"))
spoiled("bnb_short_weight", tensor_of(".weight", "U8", [2047, 1], 2047))
spoiled("bnb_short_absmax", tensor_of(".weight.absmax", "U8", [63], 63))
spoiled("bnb_half_absmax", tensor_of(".weight.absmax", "F16", [64], 128))
spoiled("bnb_short_map", tensor_of(".weight.quant_map", "F32", [15], 60))
spoiled("bnb_short_nested_map", tensor_of(".weight.nested_quant_map", "F32", [255], 1020))
spoiled("bnb_long_nested", tensor_of(".weight.nested_absmax", "F32", [2], 8))
spoiled("bnb_unknown_type", tensor_of(".weight.quant_state.bitsandbytes__af4", "U8", [2], 2))
spoiled("bnb_tiles", eight_of(weight_format=["U8", [], b"\2"]))
spoiled("bnb_scb_short", eight_of(SCB=["F32", [7], bytes(28)]))
spoiled("bnb_scb_half", eight_of(SCB=["F16", [8], bytes(16)]))
spoiled("bnb_scb_lost", eight_of(**{"SCB_of_none.weight": ["I8", [8, 8], bytes(64)]}))
spoiled("bnb_scb_of_floats", eight_of(weight=["F16", [8, 8], bytes(128)]))
