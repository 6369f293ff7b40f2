#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mlx-lm and mistral.rs read views, with equal greedy text however the source spells its configuration.

    others.py GPTQFS WORK MODEL_DIR

transformers 5 writes rope_parameters alone, for which older readers take a theta of 10000, or fail. The model in the one
spelling and in the other must read alike; so must the fused view, which is a Phi-3.
"""
import json
import os
import shutil
import subprocess
import sys

from report import Skip, check

PROMPT = "Once upon a time there was a small village where"


def respelled(model, to):
    """The model with its rotary embedding as the other of transformers 4 and 5 writes it."""
    shutil.copytree(model, to)
    path = os.path.join(to, "config.json")
    with open(path) as f:
        config = json.load(f)
    if "rope_parameters" in config:
        config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    else:
        config["rope_parameters"] = {"rope_type": "default", "rope_theta": config.pop("rope_theta")}
        config.pop("rope_scaling", None)
    os.chmod(path, 0o644)
    with open(path, "w") as f:
        json.dump(config, f)
    return to


def mlx_text(view):
    from mlx_lm import generate, load

    model, tokenizer = load(view)
    return generate(model, tokenizer, prompt=tokenizer.encode(PROMPT), max_tokens=16)


def mistralrs_text(view):
    from mistralrs import CompletionRequest, Runner, Which

    runner = Runner(which=Which.Plain(model_id=view))
    request = CompletionRequest(model="default", prompt=PROMPT, max_tokens=16, temperature=0.0)
    return runner.send_completion_request(request).choices[0].text


def main():
    gptqfs, work, model = sys.argv[1:]
    sources = {"the model": os.path.abspath(model), "respelled": respelled(model, os.path.join(work, "respelled"))}
    for reader, text in ("mlx-lm", mlx_text), ("mistral.rs", mistralrs_text):
        texts = {}
        for name, source in sources.items():
            mount = os.path.join(work, "others")
            os.makedirs(mount, exist_ok=True)
            subprocess.run([gptqfs, source, mount], check=True)
            try:
                for view in "fp16", "fused/fp16":
                    with check(f"{reader} reads {view} of {name}") as notes:
                        texts[name, view] = text(os.path.join(mount, view))
                        assert texts[name, view], "no text"
                        notes.append(repr(texts[name, view][:24]))
            finally:
                subprocess.run([gptqfs, "-u", mount], check=True)
        with check(f"{reader}: one text for all") as notes:
            if not texts:
                raise Skip("no text at all")
            assert len(texts) == 4 and len(set(texts.values())) == 1, texts
    shutil.rmtree(sources["respelled"])


if __name__ == "__main__":
    main()
