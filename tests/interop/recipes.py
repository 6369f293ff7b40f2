# SPDX-License-Identifier: MIT
"""The recipes of contrib/recipes are run as they are, and what they write is compared with what dense.py and numpy
compute from the checkpoint, without the mount.

    recipes.py GPTQFS WORK MODEL_DIR TINY_MODEL_DIR OTHER_TINY_MODEL_DIR
"""
import glob
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings

import numpy as np

import dense
from report import Skip, check

RECIPES = os.path.join(os.path.dirname(__file__), "../../contrib/recipes")
DTYPES = {"fp16": "F16", "bf16": "BF16", "fp32": "F32"}
# Bits of the significand, and the smallest normal exponent.
FORMATS = {"F16": (11, -14), "BF16": (8, -126), "F32": (24, -126)}
SEED = 20240607
RANK, ALPHA, TARGETS = 8, 16, ("q_proj", "v_proj", "down_proj")
PROMPTS = "The capital of France is", "def fibonacci(n):\n", "Water boils when"
NEW_TOKENS = 12


class Recipes:
    """An environment to run them in. Each gets a TMPDIR that must be empty afterwards: no mount or file may be left."""

    def __init__(self, gptqfs, work):
        self.out = os.path.join(work, "recipes")
        os.makedirs(self.out)
        path = [os.path.dirname(os.path.abspath(gptqfs)), os.path.dirname(sys.executable), os.environ["PATH"]]
        # torch keeps a cache, by default in TMPDIR.
        cache = os.path.join(self.out, "inductor")
        self.environment = {**os.environ, "PATH": os.pathsep.join(path), "TORCHINDUCTOR_CACHE_DIR": cache}

    def start(self, name, *arguments, meanwhile=None, public=False, **environment):
        """Returns its status and output. `meanwhile` is called with the running process and its TMPDIR, which servers
        that are not root can search if it is `public`."""
        command = [os.path.join(RECIPES, name), *map(str, arguments)]
        tmp = tempfile.mkdtemp(dir="/tmp" if public else self.out)
        if public:
            os.chmod(tmp, 0o711)
        environment = {**self.environment, **environment, "TMPDIR": tmp}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            if meanwhile:
                meanwhile(process, tmp)
            said = process.communicate()[0]
        assert not os.listdir(tmp), f"{name} leaves {os.listdir(tmp)} in TMPDIR"
        os.rmdir(tmp)
        return process.returncode, said

    def run(self, name, *arguments, **environment):
        status, said = self.start(name, *arguments, **environment)
        assert status == 0, f"status {status}: {said[-500:]}"

    def path(self, name):
        """The path of a result, emptied."""
        path = os.path.join(self.out, name)
        shutil.rmtree(path, ignore_errors=True)
        return path


def need(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise Skip(f"{module} is not installed")


def half_ulp(x, dtype):
    """Half the distance of neighbours at x: the largest error of one rounding to nearest."""
    digits, smallest = FORMATS[dtype]
    exponent = np.maximum(np.frexp(x)[1] - 1, smallest)
    return np.ldexp(0.5, exponent - (digits - 1))


def rounded(x, error, dtype):
    """x is known up to `error`; the bound on the error after rounding it once more."""
    return error + half_ulp(np.abs(x) + error, dtype)


def double(tensor):
    return dense.to_float32(*tensor).astype("<f8")


def read_dense_model(path, dtype):
    """An ordinary model written by a program: one type, and nothing that says "quantized"."""
    tensors = {}
    for shard in glob.glob(os.path.join(path, "*.safetensors")):
        tensors.update(dense.read_safetensors(shard))
    with open(os.path.join(path, "config.json")) as f:
        config = json.load(f)
    assert "quantization_config" not in config
    assert (config.get("dtype") or config["torch_dtype"]) == dense.TORCH[dtype], "config.json names another type"
    assert os.path.exists(os.path.join(path, "tokenizer.json")), "no tokenizer"
    others = {name for name, (stored, _) in tensors.items() if stored != dtype}
    assert not others, f"{others} are not {dtype}"
    return tensors


def same(found, expected, what):
    assert found.dtype == expected.dtype and found.shape == expected.shape, (
        f"{what}: {found.dtype} {found.shape}, expected {expected.dtype} {expected.shape}"
    )
    found, expected = (np.ascontiguousarray(a).view("u1") for a in (found, expected))
    assert np.array_equal(found, expected), f"{what}: differs"


# ---- PEFT ----


def make_adapter(model, path):
    """Random A and B, written by PEFT. Only the shapes of the model matter, so its weights are never read."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(SEED)
    config = AutoConfig.from_pretrained(model)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(config)
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(TARGETS), init_lora_weights=False)
    adapted = get_peft_model(base, lora)
    adapted.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.05)
    adapted.save_pretrained(path)


def merged(base, adapter, dtype):
    """W + scale * B A, and how far a program may be from it that multiplies in fp32, rounds the product, adds, rounds."""
    a, b = (double(adapter[part]) for part in ("A", "B"))
    scale = ALPHA / RANK
    product = scale * (b @ a)
    error = (RANK + 1) * 2.0**-24 * scale * (np.abs(b) @ np.abs(a))
    error = rounded(product, error, dtype)
    total = double(base) + product
    return total, rounded(total, rounded(total, error, "F32"), dtype)


def lora(recipes, model, view):
    dtype = DTYPES[view]
    name = os.path.basename(model)
    with check(f"lora-merge.sh {name} {view}: W + scale * B A, all else bit for bit") as notes:
        need("peft", "transformers")
        adapter_dir, out = recipes.path("adapter"), recipes.path("merged")
        make_adapter(model, adapter_dir)
        recipes.run("lora-merge.sh", model, adapter_dir, out, VIEW=view)
        base, found = dense.cast(dense.load(model), dtype), read_dense_model(out, dtype)
        assert found.keys() == base.keys(), f"{sorted(found.keys() ^ base.keys())[:4]}"
        adapter = {}
        for key, tensor in dense.read_safetensors(os.path.join(adapter_dir, "adapter_model.safetensors")).items():
            module, _, part = key.removeprefix("base_model.model.").rpartition(".lora_")
            adapter.setdefault(f"{module}.weight", {})[part.removesuffix(".weight")] = tensor
        expected = [key for key in base if key.split(".")[-2] in TARGETS]
        assert sorted(adapter) == sorted(expected) and expected, "PEFT wrote an adapter of other modules"
        moved = 0
        for key, tensor in found.items():
            if key not in adapter:
                same(tensor[1], base[key][1], key)
                continue
            total, error = merged(base[key], adapter[key], dtype)
            off = np.abs(double(tensor) - total) > error
            assert not off.any(), f"{key}: {off.sum()} of {off.size} elements are not the merged ones"
            moved += (np.abs(double(base[key]) - total) > error).mean()
        # Else the unmerged weights would have passed as well.
        assert moved / len(adapter) > 0.5, "the adapter changes nothing that could be seen"
        notes.append(f"{len(adapter)} of {len(found)} tensors merged")


# ---- mergekit ----


def linear(recipes, model_a, model_b, view):
    dtype = DTYPES[view]
    names = " ".join(map(os.path.basename, (model_a, model_b)))
    with check(f"mergekit-linear.sh {names} {view}: the weighted sums") as notes:
        need("mergekit")
        out = recipes.path("linear")
        recipes.run("mergekit-linear.sh", model_a, model_b, 0.25, out, VIEW=view)
        found = read_dense_model(out, dtype)
        a, b = (dense.cast(dense.load(model), dtype) for model in (model_a, model_b))
        assert found.keys() == a.keys() == b.keys(), "other names"
        swapped = 0
        for key, tensor in found.items():
            x, y = double(a[key]), double(b[key])
            total = 0.25 * x + 0.75 * y
            error = rounded(total, 2.0**-22 * (np.abs(x) + np.abs(y)), dtype)
            off = np.abs(double(tensor) - total) > error
            assert not off.any(), f"{key}: {off.sum()} of {off.size} elements are not the sum"
            swapped += (np.abs(0.75 * x + 0.25 * y - total) > error).mean()
        assert swapped / len(found) > 0.5, "the models are too much alike to tell their weights apart"
        notes.append(f"{len(found)} tensors")


# ---- GGUF ----

GGUF_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def gguf_name(name):
    outer = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    module = name.removesuffix(".weight")
    if module in outer:
        return f"{outer[module]}.weight"
    layer, _, part = module.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{GGUF_NAMES[part]}.weight"


def gguf_rows(name, a, config):
    """llama.cpp turns neighbouring rows of a head together, Llama in transformers those half a head apart."""
    part = name.split(".")[-2]
    if part not in ("q_proj", "k_proj"):
        return a
    heads = config["num_attention_heads" if part == "q_proj" else "num_key_value_heads"]
    half = a.shape[0] // heads // 2
    order = [head * 2 * half + which * half + row for head in range(heads) for row in range(half) for which in (0, 1)]
    return a[order]


def gguf_tensors(path):
    """name -> (dtype, array), with gguf's own reader."""
    import gguf

    result = {}
    for tensor in gguf.GGUFReader(path).tensors:
        dtype = tensor.tensor_type.name
        shape = [int(n) for n in tensor.shape[::-1]]  # the fastest dimension comes first in the file
        result[tensor.name] = dtype, np.array(tensor.data).view(dense.NUMPY[dtype]).reshape(shape)
    return result


def to_gguf(recipes, model, view):
    """Leaves the file in place and gives its path, or None."""
    dtype = DTYPES[view]
    name = os.path.basename(model)
    out = os.path.join(recipes.out, f"{view}.gguf")
    with check(f"hf-to-gguf.sh {name} {view}: every tensor, bit for bit, by gguf's reader") as notes:
        need("gguf", "transformers")
        if not os.environ.get("LLAMA_CPP"):
            raise Skip("no convert_hf_to_gguf.py: set LLAMA_CPP=DIR")
        recipes.run("hf-to-gguf.sh", model, out, VIEW=view)
        with open(os.path.join(model, "config.json")) as f:
            config = json.load(f)
        expected = {gguf_name(n): (n, a) for n, (_, a) in dense.cast(dense.load(model), dtype).items()}
        found = gguf_tensors(out)
        assert found.keys() == expected.keys(), f"{sorted(found.keys() ^ expected.keys())[:4]}"
        for key, (stored, a) in found.items():
            original, want = expected[key]
            want = gguf_rows(original, want, config)
            # The converter widens tensors that are not matrices.
            if want.ndim == 1 and dtype != "F32":
                want, want_dtype = dense.to_float32(dtype, want), "F32"
            else:
                want_dtype = dtype
            assert stored == want_dtype, f"{key}: {stored}, expected {want_dtype}"
            same(a, want, key)
        notes.append(f"{len(found)} tensors")
        return out
    return None


def read_gguf(model, path):
    """Programs that know the format: they turn the rows back, or compute with them as they are."""
    name = os.path.basename(model)
    source = dense.load(model)
    with check(f"hf-to-gguf.sh {name}: transformers reads the GGUF and has the model's weights, bit for bit"):
        import torch
        from transformers import AutoModelForCausalLM

        folder, file = os.path.split(path)
        loaded, info = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"], f"{info}"
        state = {key: value for key, value in loaded.state_dict().items() if key in source}
        assert state.keys() == source.keys(), "other names"
        for key, (stored, a) in dense.cast(source, "F16").items():
            same(state[key].numpy(), dense.to_float32(stored, a), key)
    with check(f"hf-to-gguf.sh {name}: llama.cpp continues prompts as transformers does") as notes:
        if importlib.util.find_spec("llama_cpp") is None:
            raise Skip("llama-cpp-python is not installed: pip install it into the environment (it is compiled, for minutes)")
        import torch
        from llama_cpp import Llama

        llama = Llama(path, n_ctx=64, n_threads=1, verbose=False)
        for prompt in PROMPTS:
            ids = llama.tokenize(prompt.encode(), add_bos=False)
            text = llama.create_completion(ids, max_tokens=NEW_TOKENS, temperature=0)["choices"][0]["text"]
            out = loaded.generate(torch.tensor([ids]), max_new_tokens=NEW_TOKENS, do_sample=False)[0, len(ids) :]
            expected = llama.detokenize(out.tolist()).decode()
            assert text == expected and text, f"{text!r}, expected {expected!r}"
            notes.append(repr(text))


def perplexity(recipes, model):
    """The exact file has the weights of F16; quantizing them again moves a quarter by more than a quarter step."""
    with check("gguf-perplexity.sh: exact is as good as F16, Q4_0 of it is not") as notes:
        for program in "llama-perplexity", "llama-quantize":
            if not shutil.which(program):
                raise Skip(f"{program} is not in PATH")
        if not os.environ.get("LLAMA_CPP"):
            raise Skip("no convert_hf_to_gguf.py: set LLAMA_CPP=DIR")
        text = os.path.join(os.path.dirname(__file__), "../../core/gptqfs.h")
        status, said = recipes.start("gguf-perplexity.sh", model, text)
        assert status == 0, f"status {status}: {said[-500:]}"
        found = re.findall(r"^(exact|F16|Q4_0 of F16) +\d+ bytes  PPL = ([\d.]+)", said, re.MULTILINE)
        exact, f16, again = (float(value) for _, value in found)
        assert abs(exact / f16 - 1) < 0.02 < again / f16 - 1, f"{found}"
        notes.append(f"{exact}, {f16}, {again}")


# ---- numpy ----


def to_numpy(recipes, model, view):
    with check(f"safetensors-to-numpy.sh {os.path.basename(model)} {view}: every array, bit for bit") as notes:
        out = os.path.join(recipes.out, "model.npz")
        recipes.run("safetensors-to-numpy.sh", model, out, VIEW=view)
        expected = dense.cast(dense.load(model), DTYPES[view])
        with np.load(out) as found:
            assert set(found.files) == expected.keys(), "other names"
            for key, (_, want) in expected.items():
                same(found[key], want, key)
        os.remove(out)
        notes.append(f"{len(expected)} arrays")


def with_joined(tensors):
    """As tensors/ has them: joined modules beside their parts."""
    result = dict(tensors)
    for parts, joined in (("qkv", "self_attn.qkv_proj"), (("gate", "up"), "mlp.gate_up_proj")):
        names = [f"{joined.partition('.')[0]}.{part}_proj.weight" for part in parts]
        for name in tensors:
            layer = name.removesuffix(names[0])
            if layer != name and all(layer + other in tensors for other in names):
                arrays = [tensors[layer + other][1] for other in names]
                result[f"{layer}{joined}.weight"] = (tensors[name][0], np.concatenate(arrays))
    return result


def statistics(recipes, model, view):
    with check(f"npy-statistics.sh {os.path.basename(model)} {view}: every line") as notes:
        out = os.path.join(recipes.out, "statistics.tsv")
        recipes.run("npy-statistics.sh", model, out, VIEW=view)
        with open(out) as f:
            title, *lines = (line.rstrip("\n").split("\t") for line in f)
        assert title == ["tensor", "shape", "minimum", "maximum", "rms"], f"{title}"
        found = {path: (shape, *map(float, values)) for path, shape, *values in lines}
        expected = with_joined(dense.cast(dense.load(model), DTYPES[view]))
        expected = {name.removesuffix(".weight").replace(".", "/"): a for name, (_, a) in expected.items()}
        assert found.keys() == expected.keys(), f"{sorted(found.keys() ^ expected.keys())[:4]}"
        for path, a in expected.items():
            shape, least, greatest, rms = found[path]
            assert shape == "x".join(map(str, a.shape)), f"{path}: {shape}"
            assert (least, greatest) == (a.min(), a.max()), f"{path}: {least} to {greatest}"
            want = np.sqrt(np.square(a, dtype="<f8").mean())
            assert abs(rms - want) <= 1e-12 * want, f"{path}: root mean square {rms}, expected {want}"
        notes.append(f"{len(found)} tensors")


# ---- around a mount ----


def need_programs(*names):
    """Servers may be in /usr/sbin, which users do not search."""
    for name in names:
        if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") is None:
            raise Skip(f"{name} is not installed")


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def same_tensors(found, model, dtype):
    """`found` are all tensors of the model, in that type."""
    base = dense.cast(dense.load(model), dtype)
    assert found.keys() == base.keys(), f"{sorted(found.keys() ^ base.keys())[:4]}"
    for key, tensor in found.items():
        same(tensor[1], base[key][1], key)


def same_model(path, model, dtype):
    """`path` is a copy of the view of that type."""
    same_tensors(read_dense_model(path, dtype), model, dtype)


def overlay(recipes, model, *before):
    """`before` is a command that runs the recipe."""
    with check(f"{' '.join((*before, 'overlay.sh'))}: a program writes into the view, and finds it the next time"):
        if before and subprocess.run((*before, "true"), capture_output=True).returncode:
            raise Skip("user namespaces are not allowed")
        written, copy = recipes.path("overlay, written"), recipes.path("copy")
        command = (*before, os.path.join(RECIPES, "overlay.sh"), os.path.abspath(model), written, "sh", "-ec")
        recipes.run(*command, 'echo new >{}/new; echo >>{}/config.json; rm {}/generation_config.json', VIEW="bf16")
        assert sorted(os.listdir(written)) == ["config.json", "generation_config.json", "new"], os.listdir(written)
        recipes.run(*command, f'test ! -e {{}}/generation_config.json; cp -r {{}} "{copy}"', VIEW="bf16")
        same_model(copy, model, "BF16")
        with open(os.path.join(copy, "new")) as f:
            assert f.read() == "new\n"
        assert not [name for name in os.listdir(recipes.out) if name.startswith("overlay, written.")], "work is left"
        status, _ = recipes.start(*command, "exit 7")
        assert status == 7, f"status {status}, not the command's"


LOAD_BY_ID = """
import shutil, sys
from huggingface_hub import snapshot_download
from transformers import AutoConfig, AutoTokenizer
assert AutoConfig.from_pretrained("some-org/a-model").model_type == sys.argv[2]
assert AutoTokenizer.from_pretrained("some-org/a-model")("a b")["input_ids"]
shutil.copytree(snapshot_download("some-org/a-model"), sys.argv[1])
try:
    from transformers import AutoModelForCausalLM
    import torch
except ImportError:
    sys.exit()
model = AutoModelForCausalLM.from_pretrained("some-org/a-model", dtype="auto")
assert model.dtype == torch.float16, model.dtype
"""


def hub_cache(recipes, model):
    with check("hub-cache.sh: a model is found by its id, and the cache is as before"):
        need("transformers")
        home, copy = recipes.path("hf"), recipes.path("copy")
        with open(os.path.join(model, "config.json")) as f:
            model_type = json.load(f)["model_type"]
        command = (model, "some-org/a-model", sys.executable, "-c", LOAD_BY_ID, copy, model_type)
        recipes.run("hub-cache.sh", *command, HF_HOME=home)
        same_model(copy, model, "F16")
        assert not [name for name in os.listdir(os.path.join(home, "hub")) if "a-model" in name], "an entry is left"
        # An entry that is there stays.
        entry = os.path.join(home, "hub/models--some-org--a-model")
        os.makedirs(entry)
        status, _ = recipes.start("hub-cache.sh", *command, HF_HOME=home)
        assert status != 0 and os.path.isdir(entry)


def serve(recipes, name, model, fetch, *arguments):
    """Starts a server, calls fetch(port) until it does not fail, and stops the server."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    errors = []

    def client(process, _):
        end = time.monotonic() + 30
        while time.monotonic() < end and process.poll() is None:
            try:
                fetch(port)
                errors.clear()
                break
            except (OSError, subprocess.CalledProcessError) as e:
                errors[:] = [getattr(e, "stderr", None) or e]
                time.sleep(0.1)
        process.terminate()

    environment = {"VIEW": "fp16", "PORT": str(port), "LISTEN": "127.0.0.1"}
    if name == "serve-http.sh":
        environment["LISTEN"] += f":{port}"
    status, said = recipes.start(name, model, *arguments, meanwhile=client, public=True, **environment)
    assert not errors and status in (-signal.SIGTERM, 128 + signal.SIGTERM), f"status {status}, {errors} {said[-500:]}"


FILES = "config.json", "model.safetensors", "tokenizer.json"


def client_program(*words):
    return subprocess.run(words, check=True, capture_output=True).stdout


def serve_http(recipes, model):
    with check("serve-http.sh: curl's and others' way to read: whole files, ranges, a list"):
        need_programs("nginx")
        copy = recipes.path("copy")

        def fetch(port):
            url = f"http://127.0.0.1:{port}/"
            os.makedirs(copy, exist_ok=True)
            with urllib.request.urlopen(url) as page:
                listed = page.read().decode()
            assert all(f'href="{name}"' in listed for name in FILES), listed
            for name in FILES:
                urllib.request.urlretrieve(url + name, os.path.join(copy, name))
            part = urllib.request.Request(url + FILES[1], headers={"Range": "bytes=12345-234567"})
            with urllib.request.urlopen(part) as answer, open(os.path.join(copy, FILES[1]), "rb") as f:
                assert answer.status == 206 and answer.read() == f.read()[12345:234568], "another range"

        serve(recipes, "serve-http.sh", model, fetch)
        same_model(copy, model, "F16")


def serve_nfs(recipes, model):
    with check("serve-nfs.sh: libnfs reads the files"):
        need_root()
        need_programs("ganesha.nfsd", "nfs-cat")
        copy = recipes.path("copy")

        def fetch(port):
            os.makedirs(copy, exist_ok=True)
            for name in FILES:
                data = client_program("nfs-cat", f"nfs://127.0.0.1/model/{name}?version=4&nfsport={port}")
                with open(os.path.join(copy, name), "wb") as f:
                    f.write(data)

        serve(recipes, "serve-nfs.sh", model, fetch)
        same_model(copy, model, "F16")


def serve_smb(recipes, model):
    with check("serve-smb.sh: smbclient reads the files, and cannot write"):
        need_root()
        need_programs("smbd", "smbclient")
        copy = recipes.path("copy")

        def fetch(port):
            os.makedirs(copy, exist_ok=True)
            client = "smbclient", "-N", "-p", str(port), "//127.0.0.1/model", "-c"
            client_program(*client, f'prompt; lcd "{copy}"; mget *')
            put = subprocess.run((*client, f"put {__file__} x"), capture_output=True, text=True)
            assert "ACCESS_DENIED" in put.stdout + put.stderr, put.stdout + put.stderr

        serve(recipes, "serve-smb.sh", model, fetch)
        same_model(copy, model, "F16")


def serve_nbd(recipes, model):
    with check("serve-nbd.sh FILE: nbdcopy reads it"):
        need_programs("nbdkit", "nbdcopy")
        copy = recipes.path("copy")

        def fetch_file(port):
            os.makedirs(copy, exist_ok=True)
            client_program("nbdcopy", f"nbd://127.0.0.1:{port}", os.path.join(copy, FILES[1]))

        serve(recipes, "serve-nbd.sh", model, fetch_file, FILES[1])
        same_tensors(dense.read_safetensors(os.path.join(copy, FILES[1])), model, "F16")
    with check("serve-nbd.sh: a disk with the files in a FAT32 partition"):
        need_programs("nbdkit", "nbdcopy")
        disk = recipes.path("disk")
        serve(recipes, "serve-nbd.sh", model, lambda port: client_program("nbdcopy", f"nbd://127.0.0.1:{port}", disk))
        with open(disk, "rb") as f:
            image = f.read()
        os.remove(disk)
        start = 512 * int.from_bytes(image[454:458], "little")
        assert image[450] == 12 and image[start + 82 : start + 87] == b"FAT32", "no such partition"
        # Files lie there in one piece.
        with open(os.path.join(copy, FILES[1]), "rb") as f:
            assert f.read() in image, "not the weights"


def sshfs(recipes, model):
    with check("sshfs.sh: a view through sftp-server; gptqfs ends with the mount"):
        need_programs("sshfs")
        if not os.path.exists("/usr/lib/openssh/sftp-server"):
            raise Skip("sftp-server is not installed")
        copy, mnt, source = recipes.path("copy"), recipes.path("sshfs"), recipes.path("a model, with a comma")
        shutil.copytree(model, source)
        os.mkdir(mnt)
        # Does what ssh does at the other end.
        ssh = os.path.join(recipes.out, "ssh")
        with open(ssh, "w") as f:
            f.write('#!/bin/sh\nwhile [ "$1" != somewhere ]; do shift; done\nshift\nexec sh -c "$*"\n')
        os.chmod(ssh, 0o755)

        def is_served():
            mounts = subprocess.run(["gptqfs", "--list", "--json"], env=recipes.environment, capture_output=True, check=True)
            return any(m["model"] == source for m in json.loads(mounts.stdout))

        # Not by start(): its TMPDIR is in use after the recipe has ended.
        command = [os.path.join(RECIPES, "sshfs.sh"), "somewhere", source, mnt, "-o", f"ssh_command={ssh}"]
        subprocess.run(command, env={**recipes.environment, "VIEW": "fp32"}, check=True, capture_output=True)
        try:
            assert is_served()
            shutil.copytree(mnt, copy)
        finally:
            subprocess.run(["fusermount3", "-u", mnt], check=True)
        same_model(copy, model, "F32")
        end = time.monotonic() + 20
        while is_served() and time.monotonic() < end:
            time.sleep(0.05)
        assert not is_served(), "gptqfs is still there"
        shutil.rmtree(source)


# ---- what goes wrong ----


def kill_mounted(process, tmp):
    """Kills only the recipe, not the program that reads the mount."""
    while process.poll() is None and not any(os.path.ismount(os.path.join(tmp, name)) for name in os.listdir(tmp)):
        time.sleep(0.01)
    process.terminate()


def failures(recipes, model):
    """A recipe that fails returns a status, and still unmounts (start() checks)."""
    nowhere = os.path.join(recipes.out, "nowhere")
    for name, arguments in (
        ("lora-merge.sh", (model, nowhere, nowhere)),
        ("lora-compare.sh", (model, nowhere, "a prompt")),
        ("mergekit-linear.sh", (model, nowhere, 0.5, nowhere)),
        ("hf-to-gguf.sh", (model, os.path.join(nowhere, "out.gguf"))),
        ("gguf-perplexity.sh", (model, nowhere)),
        ("safetensors-to-numpy.sh", (model, os.path.join(nowhere, "out.npz"))),
        ("npy-statistics.sh", (model, os.path.join(nowhere, "out.tsv"))),
        ("overlay.sh", (nowhere, os.path.join(recipes.out, "written"), "true")),
        ("hub-cache.sh", (nowhere, "org/name", "true")),
        ("serve-http.sh", (nowhere,)),
        ("serve-nfs.sh", (nowhere,)),
        ("serve-smb.sh", (nowhere,)),
        ("serve-nbd.sh", (nowhere,)),
        ("sshfs.sh", ("somewhere", model, nowhere, "-o", "ssh_command=false")),
    ):
        with check(f"{name}: fails with a status, and unmounts"):
            status, _ = recipes.start(name, *arguments, LLAMA_CPP=os.environ.get("LLAMA_CPP") or nowhere)
            assert status != 0, "status 0"
            assert not os.path.exists(nowhere), "something was written"
    with check("safetensors-to-numpy.sh: killed while it reads, it unmounts"):
        status, _ = recipes.start("safetensors-to-numpy.sh", model, os.path.join(recipes.out, "x.npz"), meanwhile=kill_mounted)
        assert status in (-signal.SIGTERM, 128 + signal.SIGTERM), f"status {status}"
    for name in sorted(os.listdir(RECIPES)):
        if name.endswith(".sh"):
            with check(f"{name}: without arguments it says what it wants"):
                status, said = recipes.start(name)
                assert status == 1 and said.startswith("usage:") and name in said, f"{said[:200]}"


warnings.simplefilter("ignore", FutureWarning)
gptqfs, work, model, tiny, other = sys.argv[1:]
recipes = Recipes(gptqfs, work)
for view in DTYPES:
    lora(recipes, tiny, view)
    linear(recipes, tiny, other, view)
for view in "fp16", "fp32":
    to_numpy(recipes, tiny, view)
    statistics(recipes, tiny, view)
overlay(recipes, tiny)
overlay(recipes, tiny, shutil.which("unshare") or "unshare", "--user", "--map-root-user")
for function in hub_cache, serve_http, serve_nfs, serve_smb, serve_nbd, sshfs:
    function(recipes, tiny)
failures(recipes, tiny)
if os.path.exists(os.path.join(model, "config.json")):
    for view in "fp16", "bf16":
        lora(recipes, model, view)
    to_numpy(recipes, model, "fp16")
    statistics(recipes, model, "fp16")
    perplexity(recipes, model)
    for view in DTYPES:
        path = to_gguf(recipes, model, view)
        if path and view == "fp16":
            read_gguf(model, path)
        if path:
            os.remove(path)
shutil.rmtree(recipes.out)
