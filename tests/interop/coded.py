# SPDX-License-Identifier: MIT
"""A small, slow dequantizer in numpy of the families other than GPTQ, written from the descriptions of the formats and
sharing nothing with gptqfs. Every step in fp32, one operation at a time, as the formats' own readers do.

    coded.py MODEL_DIR OUT_DIR F16|BF16|F32      write an ordinary, dense model directory
"""
import glob
import json
import os
import re
import sys

import numpy as np

import dense
from dense import to_float32

dense.NUMPY |= {"U32": "<u4", "F8_E4M3": "u1", "F8_E5M2": "u1", "F8_E8M0": "u1"}

NF4 = """bf800000 bf3239b1 bf066b30 beca32a0 be91a24d be3d353f bdba7871 00000000
3da2faff 3e24cae3 3e7c04dd 3ead033a 3ee1a4b8 3f1007ab 3f3913b3 3f800000"""
FP4 = """00000000 3baaaaab 3f2aaaab 3f800000 3eaaaaab 3f000000 3e2aaaab 3e800000
00000000 bbaaaaab bf2aaaab bf800000 beaaaaab bf000000 be2aaaab be800000"""
# Beside a quantized module, or of an attention: nothing that a weight needs.
HIDDEN = re.compile(
    r"\.(input_scale|input_scale_ub|activation_scale|output_scale|[kvq]_scale|prob_scale|qscale_act|weight_format"
    r"|(input|output)_(global_scale|zero_point)|[kvq]_(zero_point|global_scale)|(in|out)put_activation_scale"
    r"|[kv]_cache_scale)$")


def bits_of(text):
    return np.array([int(x, 16) for x in text.split()], "<u4").view("<f4")


def minifloat(exponent_bits, fraction_bits, finite=True):
    """The values of all codes of 1 + exponent_bits + fraction_bits bits."""
    bias = (1 << (exponent_bits - 1)) - 1
    count = 1 << (exponent_bits + fraction_bits)
    values = []
    for code in range(count):
        e, f = code >> fraction_bits, code & ((1 << fraction_bits) - 1)
        x = (f + (1 << fraction_bits if e else 0)) * 2.0 ** (max(e, 1) - bias - fraction_bits)
        if not finite and e == (1 << exponent_bits) - 1:
            x = np.nan if f else np.inf
        values.append(x)
    values = np.array(values, "<f4")
    return np.concatenate([values, -values])


E4M3 = minifloat(4, 3)
E4M3[[0x7F, 0xFF]] = np.nan
E5M2 = minifloat(5, 2, finite=False)
E2M1 = minifloat(2, 1)
E2M3 = minifloat(2, 3)
E8M0 = np.append(np.ldexp(np.float32(1), np.arange(-127, 128)), np.nan).astype("<f4")


def number(dtype, a):
    """Of any type that scales have."""
    table = {"F8_E4M3": E4M3, "F8_E5M2": E5M2, "F8_E8M0": E8M0, "U8": E8M0}.get(dtype)
    return to_float32(dtype, a) if table is None else table[a]


def fields(words, bits, count):
    """[rows, words] -> [rows, count] of a stream of fields, the first in the lowest bits."""
    return dense.codes(words, bits, False, count)


def fields_in_words(words, bits, count):
    """The same where no field lies in two words."""
    per = 32 // bits
    shifts = (np.arange(per) * bits).astype("<u4")
    return ((words[:, :, None] >> shifts) & ((1 << bits) - 1)).reshape(len(words), -1)[:, :count].astype("<i4")


def expand(scale, block, shape):
    """One scale for each block, for each element of a matrix [.., rows, columns]."""
    scale = np.repeat(np.repeat(scale, block[0], axis=-2), block[1], axis=-1)
    return scale[..., : shape[-2], : shape[-1]]


class Model:
    """The tensors of a checkpoint, and what each module of it means."""

    def __init__(self, path):
        with open(os.path.join(path, "config.json")) as f:
            self.config = json.load(f)
        self.quant = self.config.get("quantization_config") or self.config.get("quantization") or {}
        self.tensors, self.used, self.out = {}, set(), {}
        for file in glob.glob(os.path.join(path, "*.safetensors")):
            self.tensors.update(dense.read_safetensors(file))

    def has(self, name, *dtypes):
        return name in self.tensors and (not dtypes or self.tensors[name][0] in dtypes)

    def take(self, name):
        self.used.add(name)
        return self.tensors[name]

    def raw(self, name):
        return self.take(name)[1]

    def number(self, name):
        return number(*self.take(name))

    def put(self, name, values):
        assert values.dtype == np.float32, (name, values.dtype)
        self.out[name] = ("PRODUCT", values)

    # ---- bitsandbytes ----

    def bnb4(self, name, kind):
        state = json.loads(bytes(self.raw(f"{name}.quant_state.bitsandbytes__{kind}")))
        n, k = state["shape"]
        packed = np.ascontiguousarray(self.raw(name)).reshape(-1).view("u1")
        codes = np.stack([packed >> 4, packed & 15], 1).reshape(-1)[: n * k]
        absmax = self.raw(f"{name}.absmax")
        self.used.add(f"{name}.quant_map")
        if "nested_blocksize" in state:
            level = self.number(f"{name}.nested_quant_map")[absmax]
            outer = np.repeat(self.number(f"{name}.nested_absmax"), state["nested_blocksize"])[: len(absmax)]
            absmax = level * outer + np.float32(state["nested_offset"])
        values = bits_of(NF4 if kind == "nf4" else FP4)[codes] * np.repeat(absmax, state["blocksize"])[: n * k]
        values = values.reshape(n, k)
        # GPT-2's Conv1D holds [in, out]; what was quantized is its transpose.
        conv1d = self.config["model_type"] == "gpt2" and re.search(r"\.(c_attn|c_proj|c_fc)\.weight$", name)
        self.put(name, np.ascontiguousarray(values.T) if conv1d else values)

    def bnb8(self, m):
        self.used.add(f"{m}.weight_format")
        r = np.array(0x3C010204, "<u4").view("<f4")
        self.put(f"{m}.weight", self.raw(f"{m}.weight").astype("<f4") * self.number(f"{m}.SCB")[:, None] * r)

    # ---- FP4 and MX ----

    def mx(self, m, weight, scale):
        packed, exponents = self.raw(f"{m}.{weight}").view("u1"), self.raw(f"{m}.{scale}")
        k = exponents.shape[1] * 32
        bits = packed.shape[1] * 8 // k
        table = {4: E2M1, 6: E2M3, 8: E4M3}[bits]
        self.put(f"{m}.weight", table[fields(packed, bits, k)] * np.repeat(E8M0[exponents], 32, axis=1))

    def nvfp4(self, m, weight, outer, divide):
        packed = self.raw(f"{m}.{weight}")
        local, outer = self.number(f"{m}.weight_scale"), self.number(f"{m}.{outer}").reshape(())
        scale = local / outer if divide else local * outer
        self.put(f"{m}.weight", E2M1[fields(packed, 4, packed.shape[1] * 2)] * np.repeat(scale, 16, axis=1))

    def gpt_oss(self, name):
        blocks, scales = self.raw(f"{name}_blocks"), E8M0[self.raw(f"{name}_scales")]
        experts, rows, groups, _ = blocks.shape
        codes = np.stack([blocks & 15, blocks >> 4], -1).reshape(experts, rows, groups, 32)
        values = (E2M1[codes] * scales[..., None]).reshape(experts, rows, groups * 32)
        self.put(name, np.ascontiguousarray(values.transpose(0, 2, 1)))

    # ---- FP8 ----

    def block(self):
        q = self.quant
        if q.get("weight_block_size"):
            return q["weight_block_size"]
        for group in (q.get("config_groups") or {}).values():
            weights = group.get("weights") or {}
            if weights.get("block_structure"):
                return weights["block_structure"]
            if weights.get("group_size"):
                return 1, weights["group_size"]
        return 0, 0

    def fp8(self, name, scale_name):
        dtype, codes = self.take(name)
        values, s = number(dtype, codes), self.number(scale_name)
        n, k = codes.shape[-2:]
        if s.ndim == 4:
            s = s[:, 0, :, 0]
        if s.ndim == 1:
            s = s[:, None]
        bn, bk = self.block()
        fits = lambda a, b: a and b and (-(-n // a), -(-k // b)) == s.shape[-2:]
        if s.size == 1:
            s, block = s.reshape((1, 1)), (n, k)
        elif s.shape[-2:] == (n, 1):
            block = 1, k
        elif s.shape[-2:] == (1, k):
            block = n, 1
        elif s.ndim == 3 and s.shape[-2:] == (k, 1):
            s, block = s.transpose(0, 2, 1), (n, 1)
        elif fits(bn, bk):
            block = bn, bk
        elif s.shape[-2] == n and k % s.shape[-1] == 0:
            block = 1, k // s.shape[-1]
        elif fits(128, 128):
            block = 128, 128
        else:
            block = n // s.shape[-2], k // s.shape[-1]
        s = expand(s, block, codes.shape)
        self.put(name, values / s if self.quant.get("weight_scale_semantics") == "inverse" else values * s)

    def fp8_scale(self, name):
        m = name.removesuffix(".weight")
        for scale in f"{name}_scale_inv", f"{name}_scale", f"{m}.scale", f"{m}.qscale_weight":
            if scale in self.tensors and scale != name:
                return scale
        return None

    # ---- AWQ ----

    def awq(self, m):
        dtype, q = self.take(f"{m}.qweight")
        s = self.number(f"{m}.scales")
        size = self.quant.get("group_size") or self.quant.get("q_group_size")
        if dtype == "I16":
            n, k = q.shape[0] * 4, q.shape[1]
            i, r = np.meshgrid(np.arange(k), np.arange(n))
            at = i // 64 * 64 + 16 * (r % 4) + 8 * (i // 32 % 2) + i % 8
            codes = (q.view("<u2")[r // 4, at] >> (4 * (i // 8 % 4))) & 15
            group = np.arange(k) // size
            z = self.number(f"{m}.qzeros")
            self.put(f"{m}.weight", codes.astype("<f4") * s[group].T + z[group].T)
            return
        order = np.array([0, 4, 1, 5, 2, 6, 3, 7])
        columns = lambda words: fields(words.view("<u4"), 4, words.shape[1] * 8).reshape(len(words), -1, 8)[
            :, :, order].reshape(len(words), -1)
        group = np.arange(len(q)) // (size if size and size > 0 else len(q))
        z = columns(self.raw(f"{m}.qzeros")) if self.has(f"{m}.qzeros") else np.full(s.shape, 8)
        self.put(f"{m}.weight", np.ascontiguousarray((s[group] * (columns(q) - z[group]).astype("<f4")).T))

    # ---- compressed-tensors, integers ----

    def ct_widths(self, m):
        """(bits, group size) of the config groups, those whose targets name the module first."""
        found = []
        for group in self.quant["config_groups"].values():
            w = group["weights"]
            rank = 3
            for target in group["targets"]:
                if target.startswith("re:"):
                    rank = min(rank, 1 if re.match(target[3:], m) else 3)
                else:
                    rank = min(rank, 0 if target == m else 2 if target in ("Linear", "Embedding") else 3)
            found.append((rank, w["num_bits"], w.get("group_size"), w.get("block_structure")))
        return sorted(found, key=lambda f: f[0])[0][1:]

    def ct(self, m):
        bits, size, block = self.ct_widths(m)
        half = 1 << (bits - 1)
        scale = self.number(f"{m}.weight_scale")
        if scale.ndim < 2:
            scale = scale.reshape(1, 1)
        unpack = fields
        if self.has(f"{m}.weight_packed"):
            words = self.raw(f"{m}.weight_packed").view("<u4")
            n, k = (int(x) for x in self.raw(f"{m}.weight_shape"))
            if words.shape[1] != -(-k * bits // 32):
                unpack = fields_in_words
            codes = unpack(words, bits, k) - half
        else:
            codes = self.raw(f"{m}.weight").astype("<i4")
            n, k = codes.shape
        zeros = np.zeros(scale.shape, "<i4")
        if self.has(f"{m}.weight_zero_point", "I32"):
            packed = self.raw(f"{m}.weight_zero_point").view("<u4")
            zeros = unpack(np.ascontiguousarray(packed.T), bits, n).T - half
        elif self.has(f"{m}.weight_zero_point"):
            zeros = self.raw(f"{m}.weight_zero_point").astype("<i4").reshape(scale.shape)
        if block:
            bn, bk = block if isinstance(block, list) else map(int, block.split("x"))
        else:
            bn, bk = (1 if len(scale) == n else n), (size if size and size > 0 else k)
        rows, columns = np.arange(n) // bn, np.arange(k) // bk
        if self.has(f"{m}.weight_g_idx"):
            g_idx = self.raw(f"{m}.weight_g_idx")
            columns = columns if (g_idx < 0).any() else g_idx
        at = np.ix_(rows, columns)
        self.put(f"{m}.weight", scale[at] * (codes - zeros[at]).astype("<f4"))

    # ---- HQQ, MLX, Gemma ----

    def hqq(self, m):
        n, k = (int(x) for x in self.raw(f"{m}.shape"))
        packing = bytes(self.raw(f"{m}.packing")).decode()
        bits, lanes = {"8bit_u8": (8, 1), "4bit_u8": (4, 2), "3bit_32": (3, 10), "2bit_u8": (2, 4), "1bit_u8": (1, 8)}[packing]
        scale, zero = self.number(f"{m}.scale"), self.number(f"{m}.zero")
        axis = int(self.raw(f"{m}.axis"))
        columns = scale.shape[1] if axis == 0 else n * k // scale.shape[0]
        words = np.ascontiguousarray(self.raw(f"{m}.W_q")).reshape(-1).view("<u4" if lanes == 10 else "u1")
        words = words.reshape(-1, columns)
        slices = [(words >> ((lanes - 1 - i) * bits)) & ((1 << bits) - 1) for i in range(lanes)]
        codes = np.concatenate(slices)[: n * k // columns].astype("<f4")
        self.put(f"{m}.weight", ((codes - zero) * scale).reshape(n, k))
        self.used |= {name for name in self.tensors if name.startswith(m + ".") and name != f"{m}.bias"}

    def mlx(self, m):
        words, scales = self.raw(f"{m}.weight"), self.number(f"{m}.scales")
        biases = self.number(f"{m}.biases" if self.has(f"{m}.biases") else f"{m}.qbiases")
        own = self.quant.get(m)
        size = (own if isinstance(own, dict) else self.quant)["group_size"]
        k = scales.shape[-1] * size
        bits = 32 * words.shape[-1] // k
        codes = fields(words.reshape(-1, words.shape[-1]), bits, k).reshape(*words.shape[:-1], k).astype("<f4")
        values = codes * np.repeat(scales, size, -1) + np.repeat(biases, size, -1)
        if values.ndim == 2:
            self.put(f"{m}.weight", values)
            return
        prefix, projection = m.split(".switch_mlp.")
        for e, part in enumerate(values):
            self.put(f"{prefix}.experts.{e}.{projection}.weight", part)

    def gemma(self, m, weight, scale):
        dtype, codes = self.take(f"{m}.{weight}")
        scales = self.number(f"{m}.{scale}")
        bits = self.quant["num_bits"]
        for pattern, own in (self.quant.get("module_quant_configs") or {}).items():
            if re.search(pattern, m):
                bits = own["num_bits"]
                break
        if dtype == "I8":
            q = codes.astype("<f4")
        else:
            q = (fields(codes, bits, codes.shape[1] * 8 // bits) - (1 << (bits - 1))).astype("<f4")
        self.put(f"{m}.weight", q * np.repeat(scales, q.shape[1] // scales.shape[1], axis=1))

    # ---- which is which ----

    def decode(self, name):
        """Decodes the module of this tensor, if the tensor is what tells its family."""
        m, _, part = name.rpartition(".")
        dtype, method = self.tensors[name][0], self.quant.get("quant_method")
        if ".quant_state.bitsandbytes__" in name:
            self.bnb4(*name.split(".quant_state.bitsandbytes__"))
        elif part == "SCB":
            self.bnb8(m)
        elif name.endswith("_blocks") and self.has(name[:-7] + "_scales", "U8"):
            self.gpt_oss(name[:-7])
        elif method == "gemma" and part in ("weight", "embedding_quantized") and dtype in ("U8", "I8"):
            self.gemma(m, part, part.split("_")[0] + "_scale")
        elif part == "weight_packed" and dtype == "U8":
            if self.has(f"{m}.weight_global_scale"):
                self.nvfp4(m, part, "weight_global_scale", True)
            else:
                self.mx(m, part, "weight_scale")
        elif part == "weight_packed" or (part == "weight" and dtype == "I8" and self.has(f"{m}.weight_scale")):
            self.ct(m)
        elif part == "weight" and dtype == "U8" and self.has(f"{m}.weight_scale_2"):
            self.nvfp4(m, part, "weight_scale_2", False)
        elif part == "weight" and dtype == "U8" and self.has(f"{m}.weight_scale", "U8"):
            self.mx(m, part, "weight_scale")
        elif part == "weight" and dtype == "I8" and self.has(f"{m}.scale", "F8_E8M0"):
            self.mx(m, part, "scale")
        elif part == "qweight":
            self.awq(m)
        elif part == "W_q":
            self.hqq(m)
        elif part == "weight" and dtype == "U32" and self.has(f"{m}.scales"):
            self.mlx(m)
        elif dtype in ("F8_E4M3", "F8_E5M2") and self.fp8_scale(name):
            self.fp8(name, self.fp8_scale(name))

    def dense(self):
        """name -> (dtype, array); what was decoded is float32 and called "PRODUCT"."""
        with np.errstate(all="ignore"):
            for name in self.tensors:
                self.decode(name)
        for name, tensor in self.tensors.items():
            if name not in self.used and not HIDDEN.search(name):
                self.out[name] = tensor
        return self.out


def load(path):
    return Model(path).dense()


def cast(tensors, dtype):
    """As dense.cast, but the classes that have an F32 e_score_correction_bias keep it."""
    result = dense.cast(tensors, dtype)
    for name, tensor in tensors.items():
        if name.endswith("e_score_correction_bias") and tensor[0] == "F32":
            result[name] = tensor
    return result


if __name__ == "__main__":
    dense.write_model(sys.argv[1], sys.argv[2], cast(load(sys.argv[1]), sys.argv[3]), sys.argv[3])
