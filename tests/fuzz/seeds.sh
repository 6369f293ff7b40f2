#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes the seed corpus from the bundled checkpoints: seeds.sh OUTPUT_DIR
set -euo pipefail
out=$1
models=$(cd "$(dirname "$0")/../data/models" && pwd)
mkdir -p "$out"/{safetensors,config,index,checkpoint,directory,escape,json,lora,gguf}
for model in "$models"/*; do
	name=$(basename "$model")
	for file in "$model"/*.safetensors; do
		length=$(od -An -tu8 -N8 "$file" | tr -d ' ')
		seed=$out/safetensors/$name-$(basename "$file" .safetensors)
		{ printf '\0\0' && head -c $((length + 8)) "$file" | tail -c +9; } >"$seed"
	done
	for file in "$model"/*config*.json; do
		cp "$file" "$out/config/$name-$(basename "$file")"
		cp "$file" "$out/json/$name-$(basename "$file")"
	done
	if [ -e "$model/model.safetensors.index.json" ]; then
		cp "$model/model.safetensors.index.json" "$out/index/$name"
	fi
done
# Tokenizers, and what is around them: see fuzz_gguf.c.
gguf=$models/../gguf/models
{ printf '\0' && cat "$gguf/mistral-spm/tokenizer.model"; } >"$out/gguf/pieces"
{ printf '\1' && cat "$gguf/qwen2-yarn/tokenizer.json"; } >"$out/gguf/json"
{ printf '\2' && cat "$gguf/mistral-spm/tokenizer_config.json"; } >"$out/gguf/config"
printf '\3GGUF\3\0\0\0%b%b%btokenizer.ggml.tokens\11\0\0\0\10\0\0\0%b%b<s>' '\0\0\0\0\0\0\0\0' '\1\0\0\0\0\0\0\0' \
	'\25\0\0\0\0\0\0\0' '\1\0\0\0\0\0\0\0' '\3\0\0\0\0\0\0\0' >"$out/gguf/kv"
printf '\3GGUF\3\0\0\0%b%b\1\0\0\0\0\0\0\0a\2\0\0\0%b%b\2\0\0\0%b' '\1\0\0\0\0\0\0\0' '\0\0\0\0\0\0\0\0' \
	'\100\0\0\0\0\0\0\0' '\3\0\0\0\0\0\0\0' '\0\0\0\0\0\0\0\0' >"$out/gguf/infos"
printf '\2{"bos_token":{"content":"<s>"},"add_bos_token":true,"added_tokens_decoder":{"2":{"content":"<s>","special":true}},"chat_template":[{"name":"default","template":"x"}]}' >"$out/gguf/decoder"
printf '\1{"added_tokens":[{"id":1,"content":"\\u0000<|x|>","special":false}],"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}}' >"$out/gguf/added"
printf '\0\n\7\n\1a\030\1' >"$out/gguf/piece"
printf '\1{"model":{"type":"BPE","byte_fallback":true,"vocab":{"a":0,"b":1,"ab":2},"merges":["a b",["a","b"]]}}' >"$out/gguf/merges"
# Small ones, from which a fuzzer makes more progress.
printf '\0\x08{"a.qweight":{"dtype":"I32","shape":[1,2],"data_offsets":[0,8]}}' >"$out/safetensors/small"
printf '{"bits":4,"group_size":32,"sym":true,"quant_method":"gptq","meta":{"quantizer":["x:1"]}}' >"$out/config/small"
printf '{"a":1,"quantization_config":{"bits":4},"text_config":{"dtype":"x","quantization_config":{}}}' >"$out/config/text"
printf '{"dynamic":{"-:.*(?!x)\\\\d{1,2}(a|b)*$":{},"+:^model\\\\.q$":{"bits":8,"group_size":-1}},"extra_config":{"lm_head":{"bits":16},".*q.*":{}}}' >"$out/config/patterns"
printf '{"thinker_config":{"text_config":{"quantization_config":{"quant_method":"intel/auto-round","backend":"auto_round:tritonv2"}}}}' >"$out/config/nested"
printf '{"a\\u0062":[1,-Infinity,NaN,2e5,"\\ud83d\\ude00"],"c":18446744073709551615}' >"$out/json/small"
printf 'x\x1b[2J\xc2\x9b\xe2\x80\xae' >"$out/json/controls"
printf '{"weight_map":{"a":"1.safetensors","b":"s/2.safetensors"}}' >"$out/index/small"
printf 'model.layers.0.self_attn.q_proj' >"$out/escape/plain"
printf '../%%2F..\xc0\x80\n.\xe5\xb1\x82' >"$out/escape/odd"
printf 'x%%.0s' {1..250} >"$out/escape/long"
printf '.%%.0s' {1..40} >"$out/escape/deep"
# Whole checkpoints of one module and one norm, in several widths: see fuzz_checkpoint.c for the format.
python3 - "$out/checkpoint" <<'EOF'
import json, struct, sys

def pack(parts, config):
    """A module of another family: (name, dtype, shape, size) of each tensor."""
    header, data = {}, b""
    for name, dtype, shape, size in parts:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes((i * 37 + len(data)) & 255 for i in range(size))
    header, config = json.dumps(header).encode(), json.dumps(config).encode()
    return struct.pack("<HH", len(header), len(config)) + header + config + data

def checkpoint(bits, k, n, groups, g_idx, scales, config):
    words = lambda count: -(-count * bits // 32)
    sizes = {"F16": 2, "BF16": 2, "F32": 4, "I32": 4}
    parts = [("model.l.mlp.gate_proj.qweight", "I32", [words(k), n]), ("model.l.mlp.gate_proj.qzeros", "I32", [groups, words(n)]),
             ("model.l.mlp.gate_proj.scales", scales, [groups, n]), ("model.l.mlp.up_proj.weight", "BF16", [n, k]),
             ("model.l.mlp.gate_proj.bias", "F16", [n]), ("norm.weight", "F32", [7])]
    if g_idx:
        parts.append(("model.l.mlp.gate_proj.g_idx", "I32", [k]))
    header, data = {}, b""
    for name, dtype, shape in parts:
        size = sizes[dtype]
        for d in shape:
            size *= d
        if name.endswith("g_idx"):
            body = b"".join(struct.pack("<i", (i * 7) % groups) for i in range(k))
        else:
            body = bytes((i * 37 + len(data)) & 255 for i in range(size))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += body
    return join(header, config, data)

def join(header, config, data):
    header, config = json.dumps(header).encode(), json.dumps(config).encode()
    return struct.pack("<HH", len(header), len(config)) + header + config + data

# Tensors, name -> (dtype, shape, bytes).
def model(tensors, config):
    header, data = {}, b""
    for name, (dtype, shape, body) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(body)]}
        data += body
    return join(header, config, data)

# Those of one module, beside a norm.
def module(tensors, config):
    return model({**tensors, "norm.weight": ("F32", [7], bytes(28))}, config)

some = lambda n: bytes((i * 37) & 255 for i in range(n))

cases = [
    (4, 64, 8, 2, False, "F16", {"bits": 4, "group_size": 32, "sym": True, "model_type": "phi3"}),
    (4, 40, 5, 2, True, "F32", {"bits": 4, "group_size": 32, "sym": False, "model_type": "llama"}),
    (3, 32, 32, 1, False, "BF16", {"bits": 3, "group_size": -1, "sym": True}),
    (8, 16, 3, 4, True, "F16", {"bits": 4, "checkpoint_format": "gptq_v2", "sym": True, "dynamic": {"x": {}}}),
    (5, 32, 32, 1, True, "F16", {"bits": 5, "format": "gptq_p", "sym": False}),
    (2, 48, 16, 3, True, "F16", {"bits": 2, "group_size": 16, "quant_method": "auto-round"}),
]
families = {
    "mxfp4": ([("l.q.weight_packed", "U8", [3, 32], 96), ("l.q.weight_scale", "U8", [3, 2], 6)], {}),
    "mxfp6": ([("l.q.weight_packed", "U8", [3, 24], 72), ("l.q.weight_scale", "U8", [3, 1], 3)], {}),
    "nvfp4": ([("l.q.weight", "U8", [3, 16], 48), ("l.q.weight_scale", "F8_E4M3", [3, 2], 6),
               ("l.q.weight_scale_2", "F32", [], 4), ("l.q.input_scale", "F32", [], 4)], {}),
    "nvfp4-ct": ([("l.q.weight_packed", "U8", [3, 8], 24), ("l.q.weight_scale", "F8_E4M3", [3, 1], 3),
                  ("l.q.weight_global_scale", "F32", [1], 4)], {"transform_config": {"config_groups": {}}}),
    "fp4-v4": ([("l.q.weight", "I8", [3, 16], 48), ("l.q.scale", "F8_E8M0", [3, 1], 3)], {}),
    "awq": ([("l.q.qweight", "I32", [40, 2], 320), ("l.q.qzeros", "I32", [2, 2], 16), ("l.q.scales", "F16", [2, 16], 64)],
            {"quant_method": "awq", "group_size": 32, "version": "gemm"}),
    "awq-gemv": ([("l.q.qweight", "I32", [3, 8], 96), ("l.q.qzeros", "I32", [3, 4], 48), ("l.q.scales", "F16", [3, 32], 192)],
                 {"quant_method": "awq", "group_size": 32, "version": "gemv"}),
    "awq-fast": ([("l.q.qweight", "I16", [2, 64], 256), ("l.q.qzeros", "F16", [8, 8], 128), ("l.q.scales", "F16", [8, 8], 128)],
                 {"quant_method": "awq", "w_bit": 4, "q_group_size": -1, "version": "gemv_fast"}),
    "gptoss": ([("e.up_blocks", "U8", [2, 3, 1, 16], 96), ("e.up_scales", "U8", [2, 3, 1], 6)], {"quant_method": "mxfp4"}),
}
for name, (parts, config) in families.items():
    with open(f"{sys.argv[1]}/{name}", "wb") as f:
        f.write(pack(parts, config))
for i, case in enumerate(cases):
    with open(f"{sys.argv[1]}/case{i}", "wb") as f:
        f.write(checkpoint(*case))
m, int32 = "model.l.mlp.up_proj.", lambda *v: struct.pack(f"<{len(v)}i", *v)
group = lambda bits, size, target: {"targets": [target], "weights": {"num_bits": bits, "type": "int", "group_size": size}}
others = {
    "compressed": ({m + "weight_packed": ("I32", [5, 6], some(120)), m + "weight_scale": ("F16", [5, 2], some(20)),
                    m + "weight_shape": ("I64", [2], struct.pack("<2q", 5, 60)), m + "weight_zero_point": ("I32", [1, 2], some(8)),
                    m + "weight_g_idx": ("I32", [60], int32(*[1, 0] * 30))},
                   {"quant_method": "compressed-tensors", "config_groups": {"a": group(3, 32, "re:.*mlp"), "b": group(3, 40, "Linear")}}),
    "compressed-bytes": ({m + "weight": ("I8", [5, 9], some(45)), m + "weight_scale": ("BF16", [2, 2], some(8)),
                          m + "weight_zero_point": ("I8", [2, 2], some(4)), m + "input_scale": ("F32", [1], some(4))},
                         {"quant_method": "compressed-tensors", "config_groups": {"a": {
                             "targets": ["Linear"], "weights": {"num_bits": 8, "block_structure": "3x5"}}}}),
}
# With GPTQ's form, and zeros that end inside of a word.
others["compressed-form"] = ({m + "weight_packed": ("I32", [5, 2], some(40)), m + "weight_scale": ("F16", [5, 2], some(20)),
                              m + "weight_shape": ("I64", [2], struct.pack("<2q", 5, 13)),
                              m + "weight_zero_point": ("I32", [1, 2], some(8))},
                             {"quant_method": "compressed-tensors", "config_groups": {"a": group(4, 8, "Linear")}})
others["mlx"] = ({m + "weight": ("U32", [5, 6], some(120)), m + "scales": ("F16", [5, 2], some(20)),
                  m + "biases": ("F16", [5, 2], some(20))},
                 {"model_type": "llama", "quantization": {"group_size": 32, "bits": 3}})
s = "model.l.mlp.switch_mlp."
others["mlx-experts"] = ({s + "up_proj.weight": ("U32", [3, 2, 4], some(96)), s + "up_proj.scales": ("BF16", [3, 2, 1], some(12)),
                          s + "up_proj.biases": ("BF16", [3, 2, 1], some(12)), s + "gate_proj.weight": ("F16", [2, 2, 3], some(24))},
                         {"model_type": "qwen3_moe", "quantization": {"group_size": 64, "bits": 4,
                             "model.l.mlp.switch_mlp.up_proj": {"group_size": 32, "bits": 4}}})
others["gemma"] = ({m + "weight": ("U8", [5, 6], some(30)), m + "weight_scale": ("F32", [5, 1], some(20)),
                    "model.e.embedding_quantized": ("I8", [3, 8], some(24)), "model.e.embedding_scale": ("F32", [3, 2], some(24)),
                    m + "input_activation_scale": ("F32", [], some(4))},
                   {"quant_method": "gemma", "num_bits": 8, "module_quant_configs": {"up_.*$": {"num_bits": 2}}})
others["hqq"] = ({m + "W_q": ("U8", [2, 8], some(16)), m + "scale": ("F16", [4, 1], some(8)), m + "zero": ("F16", [4, 1], some(8)),
                  m + "shape": ("I64", [2], struct.pack("<2q", 4, 8)), m + "packing": ("U8", [7], b"4bit_u8"),
                  m + "axis": ("I32", [], int32(1)), m + "nbits": ("F32", [], struct.pack("<f", 4)),
                  m + "encoded_state_dict": ("U8", [], b"\1"), m + "channel_wise": ("U8", [], b"\1")},
                 {"quant_method": "hqq"})
# Whole models of one layer, for files of the kinds that need all of it.
def whole(model_type, cls, joined=False, experts=0, **config):
    tensors = {}
    def gptq(name, k, n):
        tensors[name + ".qweight"] = ("I32", [k // 8, n], some(k // 2 * n))
        tensors[name + ".qzeros"] = ("I32", [k // 32, n // 8], some(k // 32 * n // 2))
        tensors[name + ".scales"] = ("F16", [k // 32, n], struct.pack("<e", 0.5) * (k // 32 * n))
    def norm(name, n=32):
        tensors[name] = ("F16", [n], some(2 * n))
    layer = "model.layers.0."
    tensors["model.embed_tokens.weight"] = ("F16", [3, 32], some(192))
    for name in "input_layernorm", "post_attention_layernorm":
        norm(layer + name + ".weight")
    if model_type.startswith("gemma"):
        norm(layer + "pre_feedforward_layernorm.weight"), norm(layer + "post_feedforward_layernorm.weight")
    if model_type.startswith("qwen3") or model_type == "gemma3_text":
        norm(layer + "self_attn.q_norm.weight"), norm(layer + "self_attn.k_norm.weight")
    for name in ["qkv_proj"] if joined else ["q_proj", "k_proj", "v_proj"]:
        gptq(layer + "self_attn." + name, 32, 96 if joined else 32)
    gptq(layer + "self_attn.o_proj", 32, 32)
    for at in [f"mlp.experts.{i}." for i in range(experts)] or ["mlp."]:
        for name in ["gate_up_proj"] if joined else ["gate_proj", "up_proj"]:
            gptq(layer + at + name, 32, 64 if joined else 32)
        gptq(layer + at + "down_proj", 32, 32)
    if experts:
        tensors[layer + "mlp.gate.weight"] = ("F16", [experts, 32], some(64 * experts))
    norm("model.norm.weight")
    return tensors, {"architectures": [cls], "model_type": model_type, "hidden_size": 32, "intermediate_size": 32,
                     "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 32,
                     "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "vocab_size": 3, "tie_word_embeddings": True,
                     "bos_token_id": 0, "eos_token_id": 0, **config, "bits": 4, "group_size": 32, "sym": True, "desc_act": False,
                     "quant_method": "gptq", "checkpoint_format": "gptq"}

# The same matrices in bytes, as compressed-tensors stores them.
def in_bytes(tensors, config):
    out = {}
    for name, tensor in tensors.items():
        module, part = name.rsplit(".", 1)
        if part == "qweight":
            k, n = 8 * tensor[1][0], tensor[1][1]
            out[module + ".weight"] = ("I8", [n, k], some(n * k))
            out[module + ".weight_scale"] = ("F16", [n, k // 32], struct.pack("<e", 0.5) * (n * k // 32))
        elif part not in ("qzeros", "scales"):
            out[name] = tensor
    gptq = ("bits", "group_size", "sym", "desc_act", "checkpoint_format")
    rest = {key: value for key, value in config.items() if key not in gptq}
    return out, {**rest, "quant_method": "compressed-tensors", "config_groups": {"a": group(8, 32, "Linear")}}

wholes = {}
moe = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 32, "norm_topk_prob": True, "decoder_sparse_step": 1}
wholes["llama"] = whole("llama", "LlamaForCausalLM", rope_scaling={"rope_type": "llama3", "factor": 8.0,
                              "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32})
wholes["mistral"] = whole("mistral", "MistralForCausalLM", sliding_window=16)
wholes["qwen2"] = whole("qwen2", "Qwen2ForCausalLM", rope_scaling={"type": "yarn", "factor": 4.0,
                              "original_max_position_embeddings": 16})
wholes["qwen3"] = whole("qwen3", "Qwen3ForCausalLM", rope_scaling={"type": "linear", "factor": 2.0})
wholes["qwen3moe"] = whole("qwen3_moe", "Qwen3MoeForCausalLM", experts=2, **moe)
wholes["phi3"] = whole("phi3", "Phi3ForCausalLM", joined=True, rope_scaling={"type": "longrope", "short_factor": [1.0] * 16,
                             "long_factor": [2.0] * 16}, original_max_position_embeddings=32)
wholes["gemma2"] = whole("gemma2", "Gemma2ForCausalLM", sliding_window=16, query_pre_attn_scalar=32,
                               final_logit_softcapping=30.0, attn_logit_softcapping=50.0)
wholes["gemma3"] = whole("gemma3_text", "Gemma3ForCausalLM", sliding_window=16, query_pre_attn_scalar=32)
wholes["int8"] = in_bytes(*wholes["mistral"])
for name, case in others.items():
    with open(f"{sys.argv[1]}/{name}", "wb") as f:
        f.write(module(*case))
for name, case in wholes.items():
    with open(f"{sys.argv[1]}/whole-{name}", "wb") as f:
        f.write(model(*case))
EOF
# The same of synthetic checkpoints.
tools=$(cd "$(dirname "$0")/../tools" && pwd)
for kind in bnb_both bnb_conv1d gpt_oss_interleaved gpt_oss_halves gpt_oss_undivided missing_expert; do
	python3 -S "$tools/make_checkpoint.py" "$kind" "$out/made"
	python3 - "$out/made" "$out/checkpoint/$kind" <<'EOF'
import struct, sys

with open(f"{sys.argv[1]}/model.safetensors", "rb") as f:
    header = f.read(struct.unpack("<Q", f.read(8))[0])
    data = f.read()
with open(f"{sys.argv[1]}/config.json", "rb") as f:
    config = f.read()
with open(sys.argv[2], "wb") as f:
    f.write(struct.pack("<HH", len(header), len(config)) + header + config + data)
EOF
	rm -r "$out/made" "$out/made".*.json
done
# Recipes of fuzz_directory.c: any bytes are valid; small ones select the usual.
python3 - "$out/directory" <<'EOF'
import random, sys

for i in range(16):
    r = random.Random(i)
    with open(f"{sys.argv[1]}/recipe{i}", "wb") as f:
        f.write(bytes(r.choice([0, 0, r.randrange(4), r.randrange(256)]) for _ in range(200 + 40 * i)))
EOF

# Adapters for the model of fuzz_lora.c.
python3 - "$out/lora" <<'EOF'
import json, struct, sys

P = "base_model.model.model."
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 3}

def adapter(name, tensors, config, odd=False, step=37):
    header, data = {}, b""
    for key, (dtype, *shape) in tensors.items():
        size = {"F32": 4, "F16": 2, "BF16": 2}[dtype]
        for n in shape:
            size *= n
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes((i * step) % 60 for i in range(size))
    header, config = json.dumps(header).encode(), json.dumps(config).encode()
    # The length selects the file name.
    config += b" " * ((len(header) + len(config) + len(data)) % 2 != odd)
    with open(f"{sys.argv[1]}/{name}", "wb") as f:
        f.write(struct.pack("<HH", len(header), len(config)) + header + config + data)

Q, E = P + "layers.0.q_proj.", P + "layers.0.mlp.experts."
pair = {Q + "lora_A.weight": ("F32", 2, 5), Q + "lora_B.weight": ("BF16", 6, 2)}
adapter("pair", pair, {**CONFIG, "alpha_pattern": {"q_.*": 2}, "use_rslora": True})
adapter("bias", {**pair, Q + "lora_B.bias": ("F16", 6), P + "norm.weight": ("F32", 5)}, CONFIG)
adapter("dora", {**pair, Q + "lora_magnitude_vector": ("F32", 6)}, {**CONFIG, "use_dora": True})
adapter("embedding", {P + "embed_tokens.lora_embedding_A": ("F32", 2, 7), P + "embed_tokens.lora_embedding_B": ("F32", 5, 2)}, CONFIG)
adapter("head", {"base_model.model.lm_head.lora_A.weight": ("F32", 2, 5), "base_model.model.lm_head.lora_B.weight": ("F32", 7, 2)}, CONFIG)
adapter("twin", {P + "embed_tokens.lora_embedding_A": ("F32", 2, 7), P + "embed_tokens.lora_embedding_B": ("F32", 5, 2),
                 "base_model.model.lm_head.lora_A.weight": ("F32", 2, 5), "base_model.model.lm_head.lora_B.weight": ("F32", 7, 2)},
        {**CONFIG, "ensure_weight_tying": True}, step=0)
adapter("saved", {P + "embed_tokens.weight": ("BF16", 9, 5), "base_model.model.lm_head.weight": ("BF16", 9, 5)}, CONFIG)
adapter("tokens", {P + "embed_tokens.token_adapter.trainable_tokens_delta": ("F32", 2, 5)}, {**CONFIG, "trainable_token_indices": [6, 1]})
adapter("head-tokens", {"base_model.model.lm_head.token_adapter.trainable_tokens_delta": ("F32", 1, 5)},
        {**CONFIG, "trainable_token_indices": {"lm_head": [3]}})
adapter("prefixes", {name.replace("model.layers", "text.layers"): shape for name, shape in pair.items()}, CONFIG)
adapter("experts", {E + "lora_A.weight": ("F32", 4, 3), E + "lora_B.weight": ("F32", 5, 4), E + "base_layer.lora_A.weight": ("F32", 2, 5),
                    E + "base_layer.lora_B.weight": ("F32", 6, 2)}, CONFIG)
adapter("mlx", {"model.layers.0.q_proj.lora_a": ("F32", 5, 2), "model.layers.0.q_proj.lora_b": ("F32", 2, 6)},
        {"fine_tune_type": "lora", "lora_parameters": {"scale": 20.0}}, odd=True)
adapter("mlx-embedding", {"model.embed_tokens.lora_a": ("F32", 7, 2), "model.embed_tokens.lora_b": ("F32", 2, 5)},
        {"fine_tune_type": "lora", "lora_parameters": {"scale": 20.0}}, odd=True)
EOF
# The length of an input selects what is computed. Of each, one for all views, and of checkpoints for statistics as well.
python3 - "$out" <<'EOF'
import os, struct, sys

def pad(folder, fits):
    for name in sorted(os.listdir(folder)):
        with open(f"{folder}/{name}", "rb") as f:
            data = f.read()
        header, config = struct.unpack_from("<HH", data)
        end, spaces = 4 + header + config, 0
        while not fits(len(data) + spaces, len(data)):
            spaces += 1
        with open(f"{folder}/{name}-all", "wb") as f:
            f.write(struct.pack("<HH", header, config + spaces) + data[4:end] + b" " * spaces + data[end:])

pad(f"{sys.argv[1]}/checkpoint", lambda size, _: size % 11 == 0 and size % 16 == 5)
pad(f"{sys.argv[1]}/lora", lambda size, before: size % 11 == 0 and size % 2 == before % 2)
EOF
