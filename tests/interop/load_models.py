# SPDX-License-Identifier: MIT
"""transformers loads the views and must compute the same as with dense copies on disk: `cp -r` of the view, and that of
dense.py, which is independent of the mount.

    load_models.py real WORK MODEL_DIR MOUNTPOINT VIEW_FP16_MOUNTPOINT COLD_MOUNTPOINT
    load_models.py tiny WORK MODEL_DIR MOUNTPOINT [MODEL_DIR MOUNTPOINT]...
"""
import contextlib
import gc
import importlib.util
import inspect
import json
import logging
import os
import shutil
import subprocess
import sys
import warnings

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, core_model_loading

import dense
from report import Skip, check, group

VIEWS = {"fp16": "F16", "bf16": "BF16", "fp32": "F32"}
PROMPTS = ["The capital of France is", "def fibonacci(n):\n", "Water boils when"]
NEW_TOKENS = 24
SEED = 20240607


class Messages(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.text = []

    def emit(self, record):
        self.text.append(record.getMessage())


def load(path, quiet=True, **options):
    """Loads like a user: without a type, so that config.json and the tensors decide. quiet: no warnings at all."""
    messages = Messages()
    logger = logging.getLogger("transformers")
    handlers, logger.handlers = logger.handlers, [messages]
    try:
        with warnings.catch_warnings(record=True) as python_warnings:
            warnings.simplefilter("always")
            model, info = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True, **options)
    finally:
        logger.handlers = handlers
    said = messages.text + [str(w.message) for w in python_warnings]
    problems = {key: sorted(map(str, value)) for key, value in info.items() if value}
    if quiet:
        assert not problems, f"{problems}"
        assert not said, f"warnings: {said}"
    return model.eval(), problems, said


def same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys(), f"{sorted(a.keys() ^ b.keys())[:4]}"
    for name in a:
        same_bits(a[name], b[name], name)


def same_bits(a, b, name):
    assert a.dtype == b.dtype and a.shape == b.shape, f"{name}: {a.dtype} {a.shape}, {b.dtype} {b.shape}"
    a, b = (t.detach().contiguous().flatten().view(torch.uint8) for t in (a, b))
    assert torch.equal(a, b), f"{name}: differs"


@torch.no_grad()
def logits(model):
    generator = torch.Generator().manual_seed(SEED)
    ids = torch.randint(0, model.config.vocab_size, (2, 24), generator=generator)
    return model(input_ids=ids).logits


@torch.no_grad()
def continuations(path, model, prompts):
    tokenizer = AutoTokenizer.from_pretrained(path)
    result = []
    for prompt in prompts:
        inputs = tokenizer(prompt, return_tensors="pt")
        out = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        result.append((out.tolist(), tokenizer.decode(out)))
    return result


@contextlib.contextmanager
def copies(work, model, source, view, dtype):
    """The two dense copies, removed afterwards."""
    paths = os.path.join(work, "cp"), os.path.join(work, "own")
    try:
        subprocess.run(["cp", "-r", view, paths[0]], check=True)
        dense.write_model(model, paths[1], dense.cast(source, dtype), dtype)
        yield paths
    finally:
        gc.collect()
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)


def real_model(work, model, mountpoint, view_fp16, cold):
    name = os.path.basename(model)
    source = dense.load(model)

    # First, while none of its pages is in the kernel's cache. A load that converts nothing leaves the tensors mapped, to
    # be faulted in when they are first used; asking for float32 makes the four threads read, each in another tensor.
    widened = None
    with check(f"{name} fp16: transformers, 4 loading threads, nothing cached, dtype=float32"):
        assert hasattr(core_model_loading, "GLOBAL_WORKERS"), "transformers names its pool size differently now"
        workers, core_model_loading.GLOBAL_WORKERS = core_model_loading.GLOBAL_WORKERS, 4
        try:
            widened, _, _ = load(os.path.join(cold, "fp16"), dtype=torch.float32)
        finally:
            core_model_loading.GLOBAL_WORKERS = workers

    with copies(work, model, source, os.path.join(mountpoint, "fp16"), "F16") as (copied, own):
        with check(f"{name} fp16: those weights are the dense copy's"):
            assert widened is not None, "not loaded"
            same_weights(widened, load(own, dtype=torch.float32)[0])
        widened = None
        reference, _, _ = load(own)
        expected = continuations(own, reference, PROMPTS)
        expected_logits = logits(reference)
        for prompt, (_, text) in zip(PROMPTS, expected):
            print(f"      {prompt!r} -> {text!r}")
        for label, path in (
            ("MNT/fp16", os.path.join(mountpoint, "fp16")),
            ("-o view=fp16", view_fp16),
            ("cp -r of the view", copied),
        ):
            loaded = None
            with check(f"{name} {label}: transformers loads it, no missing, no unexpected keys, no warnings"):
                loaded, _, _ = load(path)
                assert loaded.dtype == torch.float16, f"{loaded.dtype}"
            with check(f"{name} {label}: greedy continuation of {len(PROMPTS)} prompts, as from the dense copy") as notes:
                assert loaded is not None, "not loaded"
                found = continuations(path, loaded, PROMPTS)
                assert found == expected, f"{found}, expected {expected}"
                notes.append(f"{sum(len(ids) for ids, _ in found)} tokens")
            with check(f"{name} {label}: weights and logits, bit for bit"):
                assert loaded is not None, "not loaded"
                same_weights(loaded, reference)
                same_bits(logits(loaded), expected_logits, "logits")
        path = os.path.join(mountpoint, "fp16")
        with check(f"{name} fp16: transformers, disable_mmap=True"):
            if "disable_mmap" not in inspect.signature(transformers.PreTrainedModel.from_pretrained).parameters:
                raise Skip("this transformers has none")
            same_weights(load(path, disable_mmap=True)[0], reference)
        with check(f"{name} fp16: transformers, one thread (HF_DEACTIVATE_ASYNC_LOAD)"):
            os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"
            try:
                same_weights(load(path)[0], reference)
            finally:
                del os.environ["HF_DEACTIVATE_ASYNC_LOAD"]
        with check(f'{name} fp16: transformers, device_map={{"": "cpu"}}'):
            if importlib.util.find_spec("accelerate") is None:
                raise Skip("accelerate is not installed")
            same_weights(load(path, device_map={"": "cpu"})[0], reference)
        reference = loaded = None

    for view, dtype in ("bf16", "BF16"), ("fp32", "F32"):
        path = os.path.join(mountpoint, view)
        with copies(work, model, source, path, dtype) as (copied, own):
            reference, _, _ = load(own)
            expected = continuations(own, reference, PROMPTS[:1])
            for label, place in (f"MNT/{view}", path), (f"cp -r of {view}", copied):
                with check(f"{name} {label}: transformers loads it; weights, logits and one continuation as from the dense copy"):
                    loaded, _, _ = load(place)
                    same_weights(loaded, reference)
                    same_bits(logits(loaded), logits(reference), "logits")
                    found = continuations(place, loaded, PROMPTS[:1])
                    assert found == expected, f"{found}, expected {expected}"
            reference = loaded = None


def tiny_model(work, model, mountpoint):
    name = os.path.basename(model)
    source = dense.load(model)
    for view, dtype in VIEWS.items():
        path = os.path.join(mountpoint, view)
        with copies(work, model, source, path, dtype) as (copied, own):
            reference = loaded = None
            with check(f"{name} {view}: transformers loads the mount, no missing, no unexpected keys, no warnings"):
                loaded, _, _ = load(path)
            with check(f"{name} {view}: weights and logits as from the dense copy, bit for bit"):
                assert loaded is not None, "not loaded"
                reference, _, _ = load(own)
                same_weights(loaded, reference)
                same_bits(logits(loaded), logits(reference), "logits")
            with check(f"{name} {view}: the same from cp -r"):
                again, _, _ = load(copied)
                same_weights(again, loaded)
                same_bits(logits(again), logits(loaded), "logits")


def fused_model(model, mountpoint):
    """A fused view that is a Phi-3 says so, and computes the same as the plain view, bit for bit."""
    name = os.path.basename(model)
    with open(os.path.join(model, "config.json")) as f:
        if json.load(f)["model_type"] not in ("llama", "mistral", "phi3"):
            return
    for view in VIEWS:
        with check(f"{name} fused/{view}: loads as a Phi-3, without a warning, logits as from {view}, bit for bit"):
            loaded, _, _ = load(os.path.join(mountpoint, "fused", view))
            assert type(loaded).__name__ == "Phi3ForCausalLM"
            same_bits(logits(loaded), logits(load(os.path.join(mountpoint, view))[0]), "logits")
    gc.collect()


def control(work, model):
    """A copy that lacks a tensor must fail the check that all of the above passed."""
    tensors = dense.cast(dense.load(model), "F16")
    name = next(n for n in tensors if n.endswith("down_proj.weight"))
    tensors["stray.weight"] = tensors.pop(name)
    path = os.path.join(work, "control")
    dense.write_model(model, path, tensors, "F16")
    with check("control: a missing and a stray tensor are noticed"):
        _, problems, said = load(path, quiet=False)
        assert problems.get("missing_keys") and problems.get("unexpected_keys"), f"{problems}"
        assert said, "no warning"


torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
transformers.utils.logging.disable_progress_bar()
if __name__ == "__main__":
    mode, work, *rest = sys.argv[1:]
    if mode == "real":
        group(f"{os.path.basename(rest[0])}: transformers", rest[1:], real_model, work, *rest)
    else:
        control(work, rest[0])
        for model, mountpoint in zip(rest[::2], rest[1::2]):
            group(f"{os.path.basename(model)}: transformers", [mountpoint], tiny_model, work, model, mountpoint)
            group(f"{os.path.basename(model)}: fused", [mountpoint], fused_model, model, mountpoint)
