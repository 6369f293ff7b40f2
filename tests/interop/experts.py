# SPDX-License-Identifier: MIT
"""transformers finds its experts in a view: tiny random models of each class, cut and saved as quantizers do, packed so
that no weight changes, mounted and loaded again. Nothing may be missing or unexpected; parameters and
logits must equal those of the original model. Runs with transformers 4.57 and 5.

    experts.py GPTQFS WORK [CASE]...

`make interop` runs it with the transformers it has; with any other: RESULTS=/dev/null PYTHON experts.py build/gptqfs /tmp/x
"""
import glob
import json
import os
import re
import subprocess
import sys

import numpy
import torch
import transformers
from safetensors.torch import load_file, save_file

from report import check

MAJOR = int(transformers.__version__.split(".")[0])
SCALE = 2.0**-6
TEXT = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        "num_experts_per_tok": 2}


# ---- a quantizer that changes nothing ----

def on_grid(parameter, generator):
    """Values that are exact in 4 bits and one scale."""
    with torch.no_grad():
        parameter.copy_((torch.randint(0, 16, parameter.shape, generator=generator) - 8) * SCALE)


def packed(weight):
    """[out, in] in GPTQ: groups of 32, zero 8."""
    rows, columns = weight.shape
    codes = (weight / SCALE).round().to(torch.int64).numpy().T + 8
    assert codes.min() >= 0 and codes.max() < 16 and columns % 8 == 0 and rows % 8 == 0, weight.shape
    words = sum(codes[i::8] << (4 * i) for i in range(8))
    groups = -(-columns // 32)
    as_i32 = lambda a: torch.from_numpy(a.astype(numpy.uint32).view(numpy.int32).copy())
    return {"qweight": as_i32(words), "qzeros": as_i32(numpy.full((groups, rows // 8), 0x77777777)),
            "scales": torch.full((groups, rows), SCALE, dtype=torch.float16),
            "g_idx": torch.arange(columns, dtype=torch.int32) // 32}


# ---- how quantizers cut: the name in a Hub file and its tensor -> the modules, [out, in], and biases ----

def halves(out):
    """gate first."""
    return {"gate_proj": out[: len(out) // 2], "up_proj": out[len(out) // 2 :]}


def interleaved(out):
    """AutoRound with transformers 4, fused_moe/gpt_oss.py."""
    return {"gate_proj": out[::2], "up_proj": out[1::2]}


def cut_gpt_oss(cut):
    def run(name, tensor):
        found = re.fullmatch(r"(.*\.experts\.)(gate_up|down)_proj(_bias)?", name)
        if not found:
            return None
        prefix, which, bias = found.groups()
        out = {}
        for e, one in enumerate(tensor):
            one = one if bias else one.T
            for part, piece in (cut(one) if which == "gate_up" else {"down_proj": one}).items():
                out[f"{prefix}{e}.{part}" + (".bias" if bias else "")] = piece
        return out
    return run


def undivided(name, tensor):
    """GPTQModel 5.0, definitions/gpt_oss.py."""
    found = re.fullmatch(r"(.*\.experts\.)(gate_up|down)_proj(_bias)?", name)
    if not found:
        return None
    prefix, which, bias = found.groups()
    return {f"{prefix}{which}.{e}" + (".bias" if bias else ""): one if bias else one.T for e, one in enumerate(tensor)}


def cut_stack(gate_up, down, to, transposed):
    """Defuser: P.experts.E.gate_proj of a stack under the class's own names."""
    def run(name, tensor):
        for tail in gate_up, down:
            if name.endswith(tail) and tensor.ndim == 3:
                prefix, out = name[: -len(tail)] + to, {}
                for e, one in enumerate(tensor):
                    one = one.T if transposed else one
                    for part, piece in (halves(one) if tail == gate_up else {"down_proj": one}).items():
                        out[f"{prefix}{e}.{part}"] = piece
                return out
        return None
    return run


def rename(*pairs):
    """GPTQModel 5.8: names of transformers 5 in memory."""
    def run(name, tensor):
        for pattern, new in pairs:
            name = re.sub(pattern, new, name)
        return {name: tensor} if tensor.ndim != 2 or "experts" not in name else {name.removesuffix(".weight"): tensor}
    return run


def parallel(name, tensor):
    """Defuser's patch_parallel_experts."""
    found = re.fullmatch(r"(.*\.(?:input|output)_linear)\.weight", name)
    if not found or tensor.ndim != 3:
        return None
    return {f"{found[1]}.{e}.linear": one for e, one in enumerate(tensor)}


def one_by_one(name, tensor):
    return {name.removesuffix(".weight"): tensor} if re.search(r"experts\.\d+\.", name) else None


OLD = (r"\.block_sparse_moe\.", ".mlp."), (r"\.w1\.", ".gate_proj."), (r"\.w3\.", ".up_proj."), (r"\.w2\.", ".down_proj.")
GPT_OSS = ("gpt_oss", "GptOssForCausalLM", {**TEXT, "intermediate_size": 48, "num_local_experts": 3, "layer_types": ["full_attention"] * 2})
GRANITE = {**TEXT, "intermediate_size": 48, "num_local_experts": 3}
BLOCK = cut_stack("input_linear.weight", "output_linear.weight", "experts.", False)
OLD_MOE = {**TEXT, "intermediate_size": 48, "num_local_experts": 3}
NEW_MOE = {**TEXT, "intermediate_size": 96, "moe_intermediate_size": 48, "num_experts": 3}

# name -> (model_type, class, config, cut, transformers_version in config.json)
CASES = {
    "gpt_oss, interleaved": (*GPT_OSS, cut_gpt_oss(interleaved), "4.57.1"),
    "gpt_oss, halves": (*GPT_OSS, cut_gpt_oss(halves), "5.4.0"),
    "gpt_oss, undivided": (*GPT_OSS, undivided, "4.57.1"),
    "llama4_text": ("llama4_text", "Llama4ForCausalLM",
                    {**TEXT, "intermediate_size": 48, "intermediate_size_mlp": 96, "num_local_experts": 3, "num_experts_per_tok": 1,
                     "interleave_moe_layer_step": 1, "attention_chunk_size": 64},
                    cut_stack("experts.gate_up_proj", "experts.down_proj", "experts.", True), "5.4.0"),
    "qwen3_vl_moe": ("qwen3_vl_moe", "Qwen3VLMoeForConditionalGeneration",
                     {"text_config": {**NEW_MOE, "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2]}},
                      "vision_config": {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64,
                                        "deepstack_visual_indexes": [0], "num_position_embeddings": 16}},
                     cut_stack("experts.gate_up_proj", "experts.down_proj", "experts.", True), "4.57.1"),
    "granitemoe": ("granitemoe", "GraniteMoeForCausalLM", GRANITE, BLOCK, "5.24.0"),
    "granitemoe, parallel": ("granitemoe", "GraniteMoeForCausalLM", GRANITE, parallel, "5.4.0"),
    "granitemoeshared": ("granitemoeshared", "GraniteMoeSharedForCausalLM", {**GRANITE, "shared_intermediate_size": 32}, BLOCK, "5.24.0"),
    "granitemoehybrid": ("granitemoehybrid", "GraniteMoeHybridForCausalLM",
                         {**GRANITE, "shared_intermediate_size": 32, "layer_types": ["attention"] * 2, "layers_block_type": ["attention"] * 2,
                          "position_embedding_type": "rope", "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_expand": 2}, BLOCK, "5.24.0"),
    "jetmoe": ("jetmoe", "JetMoeForCausalLM", {**TEXT, "kv_channels": 16, "num_key_value_heads": 2, "num_local_experts": 3, "ffn_hidden_size": 48,
                                              "intermediate_size": 48}, parallel, "5.4.0"),
    "aria_text": ("aria_text", "AriaTextForCausalLM", {**TEXT, "intermediate_size": 48, "moe_num_experts": 3, "moe_topk": 2, "moe_num_shared_experts": 1},
                  cut_stack("experts.fc1.weight", "experts.fc2.weight", "experts.", True), "5.4.0"),
    "phimoe": ("phimoe", "PhimoeForCausalLM", OLD_MOE, rename((r"\.block_sparse_moe\.gate\.", ".mlp.router."), *OLD), "5.4.0"),
    "mixtral": ("mixtral", "MixtralForCausalLM", OLD_MOE, rename(*OLD), "5.4.0"),
    "minimax": ("minimax", "MiniMaxForCausalLM", {**OLD_MOE, "layer_types": ["full_attention"] * 2}, rename(*OLD), "5.4.0"),
    "qwen3_moe": ("qwen3_moe", "Qwen3MoeForCausalLM", NEW_MOE, one_by_one, "5.4.0"),
}
if MAJOR >= 5:
    CASES |= {
        "gemma4_text": ("gemma4_text", "Gemma4ForCausalLM",
                        {**NEW_MOE, "enable_moe_block": True, "top_k_experts": 2, "hidden_size_per_layer_input": 0, "global_head_dim": 16,
                         "layer_types": ["full_attention"] * 2, "num_kv_shared_layers": 0, "vocab_size_per_layer_input": 64},
                        cut_stack("experts.gate_up_proj", "experts.down_proj", "experts.", False), "5.24.0"),
        "qwen3_5_moe_text": ("qwen3_5_moe_text", "Qwen3_5MoeForCausalLM",
                             {**NEW_MOE, "shared_expert_intermediate_size": 32, "layer_types": ["full_attention"] * 2}, one_by_one, "5.24.0"),
        "lfm2_moe": ("lfm2_moe", "Lfm2MoeForCausalLM", {**NEW_MOE, "layer_types": ["full_attention"] * 2, "num_dense_layers": 1},
                     rename((r"(experts\.\d+\.)w1\.", r"\1gate_proj."), (r"(experts\.\d+\.)w3\.", r"\1up_proj."), (r"(experts\.\d+\.)w2\.", r"\1down_proj.")), "5.4.0"),
        "mistral4": ("mistral4", "Mistral4ForCausalLM", {**TEXT, "intermediate_size": 96, "moe_intermediate_size": 48, "n_routed_experts": 4, "n_shared_experts": 1,
                                                        "n_group": 1, "topk_group": 1, "first_k_dense_replace": 0, "q_lora_rank": 32, "kv_lora_rank": 16,
                                                        "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "qk_head_dim": 16, "v_head_dim": 16, "num_key_value_heads": 4},
                     cut_stack("experts.gate_up_proj", "experts.down_proj", "experts.", False), "5.24.0"),
    }


def build(case):
    model_type, name, options, _, _ = CASES[case]
    config = transformers.CONFIG_MAPPING[model_type](**options)
    generator = torch.Generator().manual_seed(20240607)
    torch.manual_seed(20240607)
    model = getattr(transformers, name)(config).float().eval()
    for name, parameter in model.named_parameters():
        if "expert" in name or "_linear" in name:
            on_grid(parameter, generator)
        elif parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return model


def quantize(case, model, path):
    """Writes the checkpoint; returns its number of modules."""
    cut, version = CASES[case][3:]
    model.save_pretrained(path + ".hub")
    stored, modules = {}, 0
    for file in glob.glob(path + ".hub/*.safetensors"):
        for name, tensor in load_file(file).items():
            for part, piece in (cut(name, tensor) or {name: tensor}).items():
                if piece.ndim == 2 and not part.endswith((".weight", ".bias")):
                    stored |= {f"{part}.{k}": v for k, v in packed(piece).items()}
                    modules += 1
                else:
                    stored[part] = piece.contiguous().clone()
    os.makedirs(path)
    save_file(stored, path + "/model.safetensors")
    with open(path + ".hub/config.json") as f:
        config = json.load(f)
    config["transformers_version"] = version
    config["quantization_config"] = {"bits": 4, "group_size": 32, "desc_act": False, "sym": True, "quant_method": "gptq", "checkpoint_format": "gptq"}
    with open(path + "/config.json", "w") as f:
        json.dump(config, f)
    return modules


@torch.no_grad()
def logits(model):
    ids = torch.randint(3, 60, (2, 12), generator=torch.Generator().manual_seed(1))
    return model(input_ids=ids, use_cache=False).logits


def run(case, gptqfs, work):
    model = build(case)
    path = os.path.join(work, "experts", re.sub(r"\W+", "-", case))
    os.makedirs(path + ".mnt")
    modules = quantize(case, model, path)
    subprocess.run([gptqfs, "-o", "view=fp32", path, path + ".mnt"], check=True)
    try:
        loaded, info = type(model).from_pretrained(path + ".mnt", output_loading_info=True, torch_dtype=torch.float32)
        found = {key: sorted(map(str, value))[:4] for key, value in info.items() if value}
        assert not found, f"{found}"
        ours, theirs = loaded.eval().state_dict(), model.state_dict()
        assert ours.keys() == theirs.keys()
        wrong = [name for name in ours if not torch.equal(ours[name], theirs[name])]
        assert not wrong, f"{wrong[:4]} differ"
        assert torch.equal(logits(loaded), logits(model)), "logits differ"
    finally:
        # Lazily: tensors may still be mapped.
        subprocess.run(["fusermount3", "-uz", path + ".mnt"], check=True)
    return modules


def main():
    gptqfs, work, *cases = sys.argv[1:]
    transformers.logging.set_verbosity_error()
    for case in cases or CASES:
        with check(f"{case}: transformers {transformers.__version__}, parameters and logits") as notes:
            notes.append(f"{run(case, gptqfs, work)} modules")


if __name__ == "__main__":
    main()
