# SPDX-License-Identifier: MIT
"""Kinds of make_checkpoint.py with experts that were saved one by one, and the tensors that classes of transformers have
for them."""
from checkpoint import Model, kind, served


def stack(model, name, experts, order):
    """Puts one tensor in place of the parts of each expert: rows after rows, or columns of the parts, side by side or interleaved."""
    values, first = [], [model.dense[part][0] for part in experts[0]]
    for parts in experts:
        columns = []
        for shape, flat in [model.dense.pop(part) for part in parts]:
            width = shape[1] if len(shape) == 2 else 1
            rows = [flat[i * width:(i + 1) * width] for i in range(shape[0])]
            columns.append(rows)
            if order == "rows":
                values += flat
        if order == "columns":
            lines = [row for rows in columns for row in rows]
        elif order == "interleaved":
            lines = [row for pair in zip(*columns) for row in pair]
        if order != "rows":
            values += [line[k] for k in range(len(lines[0])) for line in lines]
    out, inner = sum(shape[0] for shape in first), first[0][1:]
    model.dense[name] = ([len(experts), out] + inner if order == "rows" else [len(experts)] + inner + [out], values)


def experts_of(prefix, count, *parts):
    return [[f"{prefix}{i}.{part}" for part in parts] for i in range(count)]


def moe(model_type, **config):
    model = Model()
    model.config["model_type"] = model_type
    model.config.update(config)
    model.module("model.layers.0.self_attn.q_proj", 64, 64)
    return model


def gpt_oss(path, order, count=3, act=False, **config):
    """Biases; 40 inputs of down_proj, which are no whole number of groups."""
    model = moe("gpt_oss", num_local_experts=count, **config)
    experts = "model.layers.0.mlp.experts."
    for i in range(count):
        model.module(f"{experts}{i}.gate_proj", 64, 40, bias=True, act=act)
        model.module(f"{experts}{i}.up_proj", 64, 40, bias=True)
        model.module(f"{experts}{i}.down_proj", 40, 64, bias=True)
    stack(model, experts + "gate_up_proj", experts_of(experts, count, "gate_proj.weight", "up_proj.weight"), order)
    stack(model, experts + "gate_up_proj_bias", experts_of(experts, count, "gate_proj.bias", "up_proj.bias"), order)
    stack(model, experts + "down_proj", experts_of(experts, count, "down_proj.weight"), "columns")
    stack(model, experts + "down_proj_bias", experts_of(experts, count, "down_proj.bias"), "rows")
    served(path, model)


@kind
def gpt_oss_interleaved(path):
    """AutoRound and llm-compressor with transformers 4: gate has the even columns, up the odd ones. Act-order too."""
    gpt_oss(path, "interleaved", act=True, transformers_version="4.57.1")


@kind
def gpt_oss_halves(path):
    """Everything with transformers 5: halves of columns that are interleaved, whatever they are called."""
    gpt_oss(path, "columns", transformers_version="5.4.0")


@kind
def gpt_oss_undivided(path):
    """GPTQModel 4.2 to 5.7: gate_up.0 ... gate_up.11, whose rows are the columns of the class."""
    model, count = moe("gpt_oss", num_local_experts=12), 12
    experts = "model.layers.0.mlp.experts."
    for i in range(count):
        model.module(f"{experts}gate_up.{i}", 32, 16, bias=True)
        model.module(f"{experts}down.{i}", 8, 32, bias=True)
    for ours, theirs in ("gate_up", "gate_up_proj"), ("down", "down_proj"):
        stack(model, experts + theirs, experts_of(f"{experts}{ours}.", count, "weight"), "columns")
        stack(model, experts + theirs + "_bias", experts_of(f"{experts}{ours}.", count, "bias"), "rows")
    served(path, model)


@kind
def gpt_oss_stored(path):
    """unsloth's names; experts that are not quantized, in two types; their router."""
    model, count = moe("gpt_oss"), 2
    experts = "model.layers.0.mlp.experts."
    for i in range(count):
        model.plain(f"{experts}gate_up_projs.{i}.weight", [24, 64], "BF16")
        model.plain(f"{experts}down_projs.{i}.weight", [64, 12], "F16")
    stack(model, experts + "gate_up_proj", experts_of(experts + "gate_up_projs.", count, "weight"), "columns")
    stack(model, experts + "down_proj", experts_of(experts + "down_projs.", count, "weight"), "columns")
    model.plain("model.layers.0.mlp.router.linear.weight", [count, 64])
    model.dense["model.layers.0.mlp.router.weight"] = model.dense.pop("model.layers.0.mlp.router.linear.weight")
    served(path, model)


@kind
def gpt_oss_unknown_cut(path):
    """Nothing says how gate and up were cut: gate_up stays apart, and only down is one tensor."""
    model, count = moe("gpt_oss"), 2
    experts = "model.layers.0.mlp.experts."
    for i in range(count):
        for name, k, n in ("gate_proj", 64, 32), ("up_proj", 64, 32), ("down_proj", 32, 64):
            model.module(f"{experts}{i}.{name}", k, n)
    stack(model, experts + "down_proj", experts_of(experts, count, "down_proj.weight"), "columns")
    served(path, model)


def two_stacks(model, prefix, count, gate_up, down, order, inner=32):
    for i in range(count):
        model.module(f"{prefix}{i}.gate_proj", 64, inner)
        model.module(f"{prefix}{i}.up_proj", 64, inner)
        model.module(f"{prefix}{i}.down_proj", inner, 64)
    stack(model, gate_up, experts_of(prefix, count, "gate_proj.weight", "up_proj.weight"), order)
    stack(model, down, experts_of(prefix, count, "down_proj.weight"), order)


@kind
def llama4(path):
    model = moe("llama4", text_config={"model_type": "llama4_text", "num_local_experts": 2})
    mlp = "language_model.model.layers.1.feed_forward."
    two_stacks(model, mlp + "experts.", 2, mlp + "experts.gate_up_proj", mlp + "experts.down_proj", "columns", 96)
    model.module(mlp + "shared_expert.gate_proj", 64, 32)
    served(path, model)


@kind
def qwen3_vl_moe(path):
    """gate_up is square here: two ages of transformers disagree on it."""
    model = moe("qwen3_vl_moe", text_config={"model_type": "qwen3_vl_moe_text", "num_experts": 4})
    mlp = "model.language_model.layers.0.mlp."
    two_stacks(model, mlp + "experts.", 4, mlp + "experts.gate_up_proj", mlp + "experts.down_proj", "columns")
    served(path, model)


@kind
def granitemoe(path):
    """Rows after rows; the router by its older name. The experts of another layer are not quantized."""
    model, count = moe("granitemoehybrid", num_local_experts=2), 2
    moe_of = "model.layers.%d.block_sparse_moe."
    two_stacks(model, moe_of % 0 + "experts.", count, moe_of % 0 + "input_linear.weight",
               moe_of % 0 + "output_linear.weight", "rows")
    for i in range(count):
        for name, n, k in ("input_linear", 64, 64), ("output_linear", 64, 32):
            model.plain(f"{moe_of % 1}{name}.{i}.linear.weight", [n, k])
    for name in "input_linear", "output_linear":
        stack(model, f"{moe_of % 1}{name}.weight", experts_of(f"{moe_of % 1}{name}.", count, "linear.weight"), "rows")
    model.plain(moe_of % 0 + "router.weight", [count, 64])
    model.dense[moe_of % 0 + "router.layer.weight"] = model.dense.pop(moe_of % 0 + "router.weight")
    served(path, model)


@kind
def aria(path):
    model = moe("aria", text_config={"model_type": "aria_text", "moe_num_experts": 2})
    mlp = "language_model.model.layers.0.mlp."
    two_stacks(model, mlp + "experts.", 2, mlp + "experts.fc1.weight", mlp + "experts.fc2.weight", "columns")
    served(path, model)


@kind
def gemma4(path):
    model = moe("gemma4", text_config={"model_type": "gemma4_text", "num_experts": 2})
    layer = "model.language_model.layers.0."
    two_stacks(model, layer + "experts.", 2, layer + "experts.gate_up_proj", layer + "experts.down_proj", "rows")
    served(path, model)


@kind
def missing_expert(path):
    """Expert 1 has no up_proj: gate_up stays apart."""
    model = moe("llama4_text", num_local_experts=3)
    mlp = "model.layers.0.feed_forward.experts."
    for i in range(3):
        for name, k, n in ("gate_proj", 64, 32), ("up_proj", 64, 32), ("down_proj", 32, 64):
            if (i, name) != (1, "up_proj"):
                model.module(f"{mlp}{i}.{name}", k, n)
    stack(model, mlp + "down_proj", experts_of(mlp, 3, "down_proj.weight"), "columns")
    served(path, model)


@kind
def unknown_experts(path):
    """A class that is not known here."""
    model = moe("brand_new_moe")
    for i in range(2):
        model.module(f"model.layers.0.mlp.experts.{i}.gate_proj", 64, 32)
    served(path, model)


@kind
def router_bias(path):
    """A router's e_score_correction_bias is F32 in every view, if it is stored so; another F32 tensor is not."""
    model = Model().usual()
    layer = "model.layers.0.mlp.gate."
    model.plain(layer + "e_score_correction_bias", [8], "F32")
    model.dense.pop(layer + "e_score_correction_bias")
    model.others[layer + "e_score_correction_bias"] = model.stored[layer + "e_score_correction_bias"]
    model.plain(layer + "weight", [8, 64], "F32")
    model.plain("model.layers.1.mlp.gate.e_score_correction_bias", [8], "BF16")
    served(path, model)
