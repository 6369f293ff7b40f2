# SPDX-License-Identifier: MIT
"""safetensors and numpy read every shard of every view.

    read_tensors.py MODEL_DIR MOUNTPOINT [MODEL_DIR MOUNTPOINT]...
"""
import importlib.util
import inspect
import json
import os
import sys

import numpy as np
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

import dense
from report import Skip, check, group

VIEWS = {"fp16": "F16", "bf16": "BF16", "fp32": "F32"}
HAVE_ML_DTYPES = importlib.util.find_spec("ml_dtypes") is not None
if HAVE_ML_DTYPES:
    import ml_dtypes  # safetensors' numpy side finds BF16 there, if it has been imported


def shards(view):
    index = os.path.join(view, "model.safetensors.index.json")
    if not os.path.exists(index):
        return [os.path.join(view, "model.safetensors")]
    with open(index) as f:
        return [os.path.join(view, name) for name in sorted(set(json.load(f)["weight_map"].values()))]


def bits(a):
    """The same array as unsigned integers, to compare bits, not values."""
    if isinstance(a, torch.Tensor):
        a = a.view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]).numpy()
    return a.view(f"u{a.dtype.itemsize}")


def same(found, expected):
    """found: all tensors or arrays by name."""
    assert found.keys() == expected.keys(), (
        f"missing {sorted(expected.keys() - found.keys())[:4]}, unexpected {sorted(found.keys() - expected.keys())[:4]}"
    )
    for name, a in found.items():
        dtype, want = expected[name]
        assert tuple(a.shape) == want.shape, f"{name}: shape {tuple(a.shape)}, expected {want.shape}"
        type_name = str(a.dtype).removeprefix("torch.")
        assert type_name == dense.TORCH.get(dtype, want.dtype.name), f"{name}: {a.dtype}, expected {dtype}"
        wrong = int((bits(a) != bits(want)).sum())
        assert wrong == 0, f"{name}: {wrong} of {want.size} values differ"


def open_all(view, framework, **options):
    found = {}
    for path in shards(view):
        with safetensors.safe_open(path, framework=framework, **options) as f:
            assert f.metadata() == {"format": "pt"}, f"metadata {f.metadata()}"
            for name in f.keys():
                found[name] = f.get_tensor(name)
    return found


def slices(view, expected):
    """The middle rows and one column, as tensor-parallel loaders read them."""
    for path in shards(view):
        with safetensors.safe_open(path, framework="pt") as f:
            for name in f.keys():
                part, (_, want) = f.get_slice(name), expected[name]
                rows = want.shape[0]
                assert part.get_shape() == list(want.shape)
                middle = slice(rows // 3, rows // 3 + max(rows // 3, 1))
                assert (bits(part[middle].contiguous()) == bits(want[middle])).all(), f"{name}: rows differ"
                if want.ndim == 2:
                    column = np.ascontiguousarray(want[:, 1:2])
                    assert (bits(part[:, 1:2].contiguous()) == bits(column)).all(), f"{name}: a column differs"


def memory_maps(view, expected, mode):
    """'r' is a shared mapping, 'c' a private one that may be written to."""
    found = {}
    for path in shards(view):
        start, header = dense.read_header(path)
        for name, entry in header.items():
            dtype = np.dtype(dense.NUMPY[entry["dtype"]])
            offset = start + entry["data_offsets"][0]
            found[name] = np.memmap(path, dtype, mode, offset, tuple(entry["shape"]))
    assert found.keys() == expected.keys(), "other names"
    for name, a in found.items():
        assert (bits(a) == bits(expected[name][1])).all(), f"{name}: differs"
    if mode == "c":
        name = next(iter(found))
        found[name][...] = 0
        assert not found[name].any()
        memory_maps(view, expected, "r")


def files(mountpoint, model, expected):
    """The files of tensors/ that numpy and safetensors read, mapped and copied."""
    paths = {name: os.path.join(mountpoint, "tensors", *name.removesuffix(".weight").split(".")) for name in expected}
    for mode in "r", "c", None:
        with check(f"{model} tensors: np.load of NAME.npy, mmap_mode={mode}"):
            for name, (_, want) in expected.items():
                found = np.load(f"{paths[name]}.npy", mmap_mode=mode)
                assert found.dtype == want.dtype and found.shape == want.shape, f"{name}: {found.dtype} {found.shape}"
                assert (bits(found) == bits(want)).all(), f"{name}: differs"
        with check(f"{model} tensors: np.load of NAME.t.npy, mmap_mode={mode}") as notes:
            matrices = {name: want for name, (_, want) in expected.items() if want.ndim == 2}
            for name, want in matrices.items():
                found = np.load(f"{paths[name]}.t.npy", mmap_mode=mode)
                assert found.dtype == want.dtype and found.shape == want.T.shape, f"{name}: {found.dtype} {found.shape}"
                assert found.flags.f_contiguous, f"{name}: not in Fortran order"
                assert (bits(found.T) == bits(want)).all(), f"{name}: differs"
            notes.append(f"{len(matrices)} matrices")
    with check(f"{model} tensors: safetensors.numpy.load_file of NAME.safetensors"):
        found = {}
        for name in expected:
            if name.endswith(".weight"):
                found.update(safetensors.numpy.load_file(f"{paths[name]}.safetensors"))
        same(found, expected)


def read_model(model, mountpoint):
    name = os.path.basename(model)
    with check(f"{name}: decode it here, for comparison") as notes:
        source = dense.load(model)
        notes.append(f"{len(source)} tensors")
    for view_name, dtype in VIEWS.items():
        view = os.path.join(mountpoint, view_name)
        what = f"{name} {view_name}"
        expected = dense.cast(source, dtype)
        with check(f"{what}: safe_open pt") as notes:
            same(open_all(view, "pt"), expected)
            notes.append(f"{len(shards(view))} shard")
        with check(f"{what}: safe_open pt, slices"):
            slices(view, expected)
        with check(f"{what}: safe_open pt, backend pread"):
            if "backend" not in str(inspect.signature(safetensors.safe_open)):
                raise Skip("this safetensors has none")
            same(open_all(view, "pt", backend="pread"), expected)
        with check(f"{what}: safetensors.torch.load_file"):
            same({k: v for p in shards(view) for k, v in safetensors.torch.load_file(p).items()}, expected)
        for label, read in (
            ("safe_open numpy", lambda: open_all(view, "numpy")),
            ("safetensors.numpy.load_file", lambda: {k: v for p in shards(view) for k, v in safetensors.numpy.load_file(p).items()}),
        ):
            with check(f"{what}: {label}"):
                if dtype == "BF16" and not HAVE_ML_DTYPES:
                    raise Skip("numpy has no BF16 without ml_dtypes")
                same(read(), expected)
        for mode in "r", "c":
            with check(f"{what}: numpy.memmap mode {mode}"):
                memory_maps(view, expected, mode)
    files(mountpoint, name, dense.cast(source, "F16"))


torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
for model, mountpoint in zip(sys.argv[1::2], sys.argv[2::2]):
    group(f"{os.path.basename(model)}: readers", [mountpoint], read_model, model, mountpoint)
