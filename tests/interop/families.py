# SPDX-License-Identifier: MIT
"""transformers, unmodified, loads the views of checkpoints of other families than GPTQ; its weights and logits are those
of a dense copy made by coded.py, bit for bit, and every tensor of every view is that decoder's. Where a format's own
library runs on a CPU, its result is compared too.

    families.py GPTQFS WORK MODEL_DIR...
"""
import gc
import importlib.util
import os
import shutil
import subprocess
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import transformers

import coded
import dense
from load_models import load, logits, same_bits, same_weights
from report import Skip, check

VIEWS = {"fp16": "F16", "bf16": "BF16", "fp32": "F32"}
# Names or shapes that no class of transformers has: the tensors are compared, and not loaded.
NO_CLASS = {"f-fp8-experts-3d"}


def read_view(path):
    tensors = {}
    for name in sorted(os.listdir(path)):
        if name.endswith(".safetensors"):
            tensors.update(dense.read_safetensors(os.path.join(path, name)))
    return tensors


def compare_tensors(found, expected):
    """The number of values that were compared, each of them the same bits."""
    assert found.keys() == expected.keys(), f"names: {sorted(found.keys() ^ expected.keys())[:6]}"
    count = 0
    for name, (dtype, a) in expected.items():
        have, b = found[name]
        assert have == dtype and a.shape == b.shape, f"{name}: {have} {b.shape}, expected {dtype} {a.shape}"
        assert np.ascontiguousarray(a).tobytes() == b.tobytes(), f"{name} differs"
        count += a.size
    return count


def check_model(work, model, mountpoint):
    name = os.path.basename(model)
    source = coded.load(model)
    decoded = sum(a.size for kind, a in source.values() if kind == "PRODUCT")
    for view, dtype in VIEWS.items():
        path = os.path.join(mountpoint, view)
        expected = coded.cast(source, dtype)
        with check(f"{name} {view}: every tensor as decoded in numpy") as notes:
            count = compare_tensors(read_view(path), expected)
            assert decoded and count >= decoded, "nothing was compared"
            notes.append(f"{count} values, {decoded} of them decoded")
        if name in NO_CLASS:
            continue
        own = os.path.join(work, "own")
        try:
            dense.write_model(model, own, expected, dtype)
            loaded = None
            with check(f"{name} {view}: transformers loads it, nothing missing, nothing unexpected"):
                loaded, problems, _ = load(path, quiet=False)
                assert not problems, f"{problems}"
            with check(f"{name} {view}: weights and logits as from the dense copy, bit for bit") as notes:
                assert loaded is not None, "not loaded"
                reference = load(own, quiet=False)[0]
                same_weights(loaded, reference)
                found, wanted = logits(loaded), logits(reference)
                same_bits(found, wanted, "logits")
                assert wanted.numel(), "no logits"
                notes.append(f"{sum(p.numel() for p in reference.parameters())} weights, {wanted.numel()} logits")
        finally:
            loaded = reference = None
            gc.collect()
            shutil.rmtree(own, ignore_errors=True)


def peer_bitsandbytes(model, mountpoint):
    """Its own CPU library, tensor by tensor, in the three types that it can make."""
    name = os.path.basename(model)
    with check(f"{name}: bitsandbytes dequantizes the same") as notes:
        if importlib.util.find_spec("bitsandbytes") is None:
            raise Skip("bitsandbytes is not installed")
        import bitsandbytes.functional as F
        from safetensors.torch import load_file

        tensors = {}
        for file in sorted(os.listdir(model)):
            if file.endswith(".safetensors"):
                tensors.update(load_file(os.path.join(model, file)))
        conv1d = coded.Model(model).config["model_type"] == "gpt2"
        count = 0
        for view, dtype in ("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32):
            shown = {}
            for file in sorted(os.listdir(os.path.join(mountpoint, view))):
                if file.endswith(".safetensors"):
                    shown.update(load_file(os.path.join(mountpoint, view, file)))
            for key in tensors:
                if ".quant_state.bitsandbytes__" in key:
                    weight = key.split(".quant_state.")[0]
                    parts = {k[len(weight) + 1:]: v for k, v in tensors.items() if k.startswith(weight + ".")}
                    state = F.QuantState.from_dict(parts, device=torch.device("cpu"))
                    state.dtype = dtype
                    out = F.dequantize_4bit(tensors[weight].view(torch.uint8), state)
                    if conv1d:
                        out = out.T
                elif key.endswith(".SCB"):
                    weight = key[: -len("SCB")] + "weight"
                    out = F.int8_vectorwise_dequant(tensors[weight], tensors[key]).to(dtype)
                else:
                    continue
                same_bits(shown[weight], out.to(dtype), weight)
                count += out.numel()
        assert count, "nothing was compared"
        notes.append(f"{count} values")


# What transformers 5.23 with compressed-tensors 0.20 refuses, or is known to decode wrongly.
PEERS_FAIL = {
    "ct012-actorder-group": "compressed-tensors 0.20 refuses actorder",
    "ct012-bits-3567-words": "compressed-tensors 0.20 takes the older packing for the newer one",
    "ct-bits-2to7": "transformers converts no config groups of several widths",
    "ct-mixed-lmhead": "transformers converts no mixed formats",
    "ct081-asym-i8-zeros": "compressed-tensors 0.20 refuses zero points of bytes beside packed codes",
    "f-mixed-ct-nvfp4-fp8": "transformers converts no mixed formats",
    "f-fp8-odd-values": "transformers refuses ragged blocks",
}


def is_ragged(shape, block):
    """transformers takes 192 rows in 2 blocks of 128 for twice 96."""
    return block and len(shape) == 2 and any(n > b and n % b for n, b in zip(shape, block))


def peer_transformers(model, mountpoint):
    """transformers loads the quantized model with its own and compressed-tensors' code, and decodes it."""
    name = os.path.basename(model)
    config = coded.Model(model).config
    method = (config.get("quantization_config") or {}).get("quant_method")
    classes = {"compressed-tensors": "CompressedTensorsConfig", "mxfp4": "Mxfp4Config", "fp8": "FineGrainedFP8Config"}
    if method not in classes or name in NO_CLASS:
        return
    with check(f"{name}: transformers' own load of it, decoded by its code, has the same weights") as notes:
        if name in PEERS_FAIL:
            raise Skip(PEERS_FAIL[name])
        if method == "compressed-tensors" and importlib.util.find_spec("compressed_tensors") is None:
            raise Skip("compressed-tensors is not installed")
        how = getattr(transformers, classes[method])(dequantize=True)
        theirs = load(model, quiet=False, quantization_config=how)[0].state_dict()
        dtype = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}[next(iter(theirs.values())).dtype]
        ours = load(os.path.join(mountpoint, dtype), quiet=False)[0].state_dict()
        count = 0
        for key, weight in ours.items():
            if not is_ragged(weight.shape, config["quantization_config"].get("weight_block_size")):
                same_bits(theirs[key], weight, key)
                count += weight.numel()
        assert count > sum(w.numel() for w in ours.values()) / 4, f"only {count} values compared"
        notes.append(f"{dtype}, {count} values")


def check_one(gptqfs, work, model):
    name = os.path.basename(model)
    mountpoint = os.path.join(work, "mnt", name)
    os.makedirs(mountpoint, exist_ok=True)
    done = subprocess.run([gptqfs, model, mountpoint], capture_output=True, text=True)
    if done.returncode:
        with check(f"{name}: mounts"):
            raise AssertionError(done.stderr.strip())
        return
    try:
        check_model(work, model, mountpoint)
        if "bnb" in name:
            peer_bitsandbytes(model, mountpoint)
        peer_transformers(model, mountpoint)
    finally:
        subprocess.run(["fusermount3", "-uz", mountpoint], check=False)


def control(work, model):
    """One wrong bit of one tensor must fail what everything above passes by."""
    expected = coded.cast(coded.load(model), "BF16")
    found = {name: (dtype, a.copy()) for name, (dtype, a) in expected.items()}
    found[next(iter(found))][1].reshape(-1).view("u1")[0] ^= 1
    with check("control: one wrong bit is noticed"):
        try:
            compare_tensors(found, expected)
        except AssertionError:
            return
        raise AssertionError("not noticed")


if __name__ == "__main__":
    gptqfs, work, *models = sys.argv[1:]
    control(work, models[0])
    for model in models:
        check_one(os.path.abspath(gptqfs), work, model)
