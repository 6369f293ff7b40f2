# SPDX-License-Identifier: MIT
"""PEFT is the reference of merged adapters: what it computes in float64 on the fp32 view, rounded once, is to the bit
what a mount with lora= shows. And adapters that it trains on a mounted view merge back.

    lora.py GPTQFS WORK_DIR LLAMA_DIR [MOE_DIR]
"""
import os
import subprocess
import sys

import dense
import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from report import check
from transformers import AutoModelForCausalLM, AutoTokenizer

SEED = 20261128
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
VIEWS = {"fp32": "F32", "fp16": "F16", "bf16": "BF16"}


class Mounts:
    def __init__(self, gptqfs, work):
        self.gptqfs, self.work, self.count, self.mounted = gptqfs, work, 0, []

    def mount(self, model, *options):
        self.count += 1
        path = os.path.join(self.work, f"lora-{self.count}")
        os.mkdir(path)
        subprocess.run([self.gptqfs, *options, model, path], check=True)
        self.mounted.append(path)
        return path

    def adapter(self):
        self.count += 1
        return os.path.join(self.work, f"adapter-{self.count}")

    def unmount(self):
        while self.mounted:  # models that are still loaded map their files
            subprocess.run(["fusermount3", "-uz", self.mounted.pop()], check=True)


def rounded(x, dtype):
    """float64 to the type, once. To bf16 by fp32 to odd: cut off, and the last bit is set if that lost anything."""
    if dtype != "BF16":
        with np.errstate(over="ignore"):
            return x.astype({"F32": "<f4", "F16": "<f2"}[dtype])
    cut = x.astype("<f4")
    cut = np.where(np.abs(cut.astype("<f8")) > np.abs(x), np.nextafter(cut, np.float32(0)), cut)
    bits = cut.view("<u4") | (cut.astype("<f8") != x).astype("<u4")
    return dense.from_float32(bits.view("<f4"), dtype)


def base_model(view):
    return AutoModelForCausalLM.from_pretrained(view, dtype=torch.float32)


def save_adapter(view, path, **settings):
    """Random factors, written by PEFT."""
    torch.manual_seed(SEED)
    model = get_peft_model(base_model(view), LoraConfig(r=4, lora_alpha=6, init_lora_weights=False, **settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name and "magnitude" not in name:
                parameter.normal_(0, 0.05)
    model.save_pretrained(path)


def merged_by_peft(view, adapter):
    model = PeftModel.from_pretrained(base_model(view).double(), adapter, autocast_adapter_dtype=False).merge_and_unload()
    return {name: t.numpy() for name, t in model.state_dict().items()}


def find(state, name):
    """A tensor of the view in what transformers holds, which has experts in stacks."""
    if name in state or ".experts." not in name:
        return state[name]
    layer, _, rest = name.partition(".experts.")
    expert, part, _ = rest.split(".")
    if part == "down_proj":
        return state[f"{layer}.experts.down_proj"][int(expert)]
    both = state[f"{layer}.experts.gate_up_proj"][int(expert)]
    return both[:len(both) // 2] if part == "gate_proj" else both[len(both) // 2:]


def compare(mounts, model, adapter, notes):
    base = mounts.mount(model)
    found = mounts.mount(model, f"--lora={adapter}")
    state = merged_by_peft(os.path.join(base, "fp32"), adapter)
    plain = dense.read_safetensors(os.path.join(base, "fp32", "model.safetensors"))
    for view, dtype in VIEWS.items():
        tensors = dense.read_safetensors(os.path.join(found, view, "model.safetensors"))
        changed = 0
        for name, (stored, bits) in tensors.items():
            expected = rounded(find(state, name), dtype)
            assert stored == dtype, f"{name} is {stored}"
            assert np.array_equal(bits.view("u1"), np.ascontiguousarray(expected).view("u1")), f"{view}: {name} differs"
            changed += view == "fp32" and not np.array_equal(bits, plain[name][1])
        if view == "fp32":
            assert changed, "the adapter changes nothing"
            notes.append(f"{changed} of {len(tensors)} tensors merged")


def exact(mounts, model, what, **settings):
    with check(f"PEFT in float64 on fp32, {os.path.basename(model)}, {what}: the same bits in all types") as notes:
        try:
            adapter = mounts.adapter()
            save_adapter(os.path.join(mounts.mount(model), "fp32"), adapter, **settings)
            compare(mounts, model, adapter, notes)
        finally:
            mounts.unmount()


def trained(mounts, model):
    """Some steps of training on the mounted view; the merged view then gives what PEFT's own forward does."""
    with check(f"PEFT trains on {os.path.basename(model)}/fp32, and the adapter merges back") as notes:
        try:
            view, adapter = os.path.join(mounts.mount(model), "fp32"), mounts.adapter()
            torch.manual_seed(SEED)
            peft = get_peft_model(base_model(view), LoraConfig(r=4, lora_alpha=8, target_modules=LINEAR))
            ids = torch.randint(0, 200, (2, 24))
            optimizer = torch.optim.AdamW([p for p in peft.parameters() if p.requires_grad], lr=1e-2)
            losses = []
            for _ in range(5):
                loss = peft(input_ids=ids, labels=ids).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.item())
            peft.save_pretrained(adapter)
            merged = os.path.join(mounts.mount(model, f"--lora={adapter}"), "fp32")
            loaded = base_model(merged)
            with torch.no_grad():
                off = (loaded(input_ids=ids).logits - peft.eval()(input_ids=ids).logits).abs().max().item()
            assert losses[-1] < losses[0] and off < 1e-3, f"losses {losses}, logits differ by {off}"
            text = AutoTokenizer.from_pretrained(merged)
            out = loaded.generate(input_ids=ids[:1], max_new_tokens=4, do_sample=False)
            assert out.shape[1] > ids.shape[1] and text is not None
            notes.append(f"loss {losses[0]:.2f} to {losses[-1]:.2f}, logits within {off:.1e}")
            compare(mounts, model, adapter, notes)
        finally:
            mounts.unmount()


torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
gptqfs, work, llama, *moe = sys.argv[1:]
moe = [model for model in moe if os.path.exists(model)]
mounts = Mounts(os.path.abspath(gptqfs), work)
exact(mounts, llama, "linear", target_modules=LINEAR)
exact(mounts, llama, "rslora with patterns", target_modules=LINEAR, use_rslora=True, alpha_pattern={"mlp.*": 3, "q_proj": 2})
exact(mounts, llama, "DoRA", target_modules=LINEAR, use_dora=True)
exact(mounts, llama, "embedding and head", target_modules=["embed_tokens", "lm_head", "k_proj"])
exact(mounts, llama, "saved norms", target_modules=["q_proj"], modules_to_save=["norm", "input_layernorm"])
for model in moe:
    exact(mounts, model, "stacks of experts", target_modules=["q_proj"],
          target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"])
trained(mounts, llama)
