#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# tensors/: every tensor in files of its own.

load lib

all_models() {
	(cd / && ls -d "$TESTS"/data/models/*/ "$ROOT"/../shared/models/*/ 2>/dev/null) | xargs -n1 basename | sort -u
}

# check_tensors DIRECTORY TYPE [NPY_TYPE]: every file below, against the expected values of those types.
check_tensors() {
	python3 -S "$TESTS/tools/tensors.py" "$1" "$source" "$expected.$2.json" "$expected.${3:-$2}.json"
}

# make_source KIND: as make_checkpoint, also in $source.
make_source() {
	make_checkpoint "$1"
	source=$model
}

@test "every tensor of every checkpoint" {
	for name in $(all_models); do
		echo "$name"
		find_model "$name"
		mount_model "$source" "$mnt"
		check_tensors "$mnt/tensors" F16
		unmount "$mnt"
	done
}

@test "-o dtype= is the type of tensors/, and of nothing else" {
	find_model tiny-qwen2-4b-g64-asym
	mount_model -o dtype=fp32 "$source" "$mnt"
	check_tensors "$mnt/tensors" F32
	compare_views "$mnt"
	unmount "$mnt"
	mount_model -o dtype=bf16 "$source" "$mnt"
	check_tensors "$mnt/tensors" BF16 F32
	unmount "$mnt"
	mount_model -o dtype=fp16 "$source" "$mnt"
	check_tensors "$mnt/tensors" F16
}

@test "numpy has no BF16: .npy is fp32, and .info says so" {
	find_model tiny-llama-4b-g32-shard
	mount_model -o dtype=bf16,view=tensors "$source" "$mnt"
	grep -qx 'Dtype: *BF16' "$mnt/lm_head.info"
	grep -qx 'Npy: *<f4 \[256, 128\] (C order; numpy has no BF16)' "$mnt/lm_head.info"
}

@test "a type that there is not is an error of usage" {
	find_model tiny-llama-4b-g32-shard
	mkdir "$mnt"
	for dtype in float16 FP16 F16 int8 fp64 ''; do
		run -1 "$GPTQFS" -o "dtype=$dtype" "$source" "$mnt"
		[[ $output = *"dtype=$dtype: no such type; expected fp16, bf16 or fp32"* ]]
	done
	not_mounted "$mnt"
}

@test "-o view=tensors is the root of the mount" {
	find_model tiny-llama-4b-g32-shard
	mount_model -o view=tensors "$source" "$mnt"
	check_tensors "$mnt" F16
	[[ $(ls -x "$mnt/model/layers/0/self_attn") = *qkv_proj.safetensors* ]]
	[[ ! -e $mnt/tensors && ! -e $mnt/info ]]
}

@test "names that are dangerous as paths" {
	make_source names
	mount_model "$model" "$mnt"
	check_tensors "$mnt/tensors" F16
	# Everything can be listed, copied and looked up.
	cp -r "$mnt/tensors" "$BATS_TEST_TMPDIR/copy"
	diff -r "$mnt/tensors" "$BATS_TEST_TMPDIR/copy"
	[[ -z $(find "$mnt" -name '*[[:cntrl:]]*') ]]
	[[ -f $mnt/tensors/%/%/%2F/%/%2Fescape.npy ]]
	# .info has a cut part in full.
	grep -q "^Tensor: *y\{300\}1\.weight$" "$mnt"/tensors/yyy*.info
}

@test "types and shapes that are not a matrix of floats" {
	make_source types
	for dtype in fp16:F16:F16 bf16:BF16:F32 fp32:F32:F32; do
		IFS=: read -r option type npy <<<"$dtype"
		mount_model -o dtype="$option" "$model" "$mnt"
		check_tensors "$mnt/tensors" "$type" "$npy"
		[[ ! -e $mnt/tensors/other/F8_E8M0.npy ]]
		grep -qx 'Npy: *- (numpy has no such type)' "$mnt/tensors/other/F8_E8M0.info"
		unmount "$mnt"
	done
}

@test "weights that are kept [in_features, out_features]" {
	make_source gpt2
	mount_model "$model" "$mnt"
	check_tensors "$mnt/tensors" F16
	grep -qx 'Shape: *\[64, 96\]' "$mnt/tensors/transformer/h/0/attn/c_attn.info"
	grep -qx 'In_features: *64' "$mnt/tensors/transformer/h/0/attn/c_attn.info"
}

@test "joined modules beside their parts, biases too" {
	for kind in fusable joined_mlp biases mixtral; do
		make_source $kind
		mount_model "$model" "$mnt"
		check_tensors "$mnt/tensors" F16
		unmount "$mnt"
		rm -r "$model"
	done
}

@test "experts in one tensor" {
	for kind in gpt_oss_interleaved gpt_oss_undivided llama4 granitemoe; do
		make_source $kind
		mount_model "$model" "$mnt"
		check_tensors "$mnt/tensors" F16
		[[ $kind != gpt_oss_interleaved ]] ||
			head -n1 "$mnt/tensors/model/layers/0/mlp/experts/gate_up_proj.info" |
			grep -q '^model.layers.0.mlp.experts.gate_up_proj: 6 tensors stacked, \[3, 64, 80\], '
		unmount "$mnt"
		rm -r "$model"
	done
}

@test "the first line of .info can be read alone" {
	find_model tiny-llama-4b-g32-asym-act
	mount_model -o view=tensors "$source" "$mnt"
	run -0 head -qn1 "$mnt"/model/layers/0/self_attn/{q_proj,qkv_proj}.info "$mnt/model/norm.info"
	diff - <(echo "$output") <<'END'
model.layers.0.self_attn.q_proj.weight: 4-bit, group size 32, asymmetric, act-order, [128, 128], 9.98 kB -> 32.8 kB F16
model.layers.0.self_attn.qkv_proj.weight: 3 tensors joined, [256, 128], 20.5 kB -> 65.5 kB F16
model.norm.weight: not quantized, BF16, [128], 256 bytes -> 256 bytes F16
END
}

@test "numpy maps and reads the arrays" {
	local python
	for python in python3 /usr/bin/python3 ''; do
		"$python" -c 'import numpy' 2>/dev/null && break
	done
	[[ -n $python ]] || skip "no numpy (make deps)"
	make_source types
	mount_model -o view=tensors "$model" "$mnt"
	"$python" - "$mnt" "$TESTS/tools" <<'END'
import os, sys
import numpy
sys.path.insert(0, sys.argv[2])
from compare import read_header
from tensors import NPY
count = 0
for where, _, files in os.walk(sys.argv[1]):
    for file in files:
        if not file.endswith(".npy") or file.endswith(".t.npy"):
            continue
        path = os.path.join(where, file)
        start, header = read_header(path[:-4] + ".safetensors")
        entry = next(iter(header.values()))
        with open(path[:-4] + ".safetensors", "rb") as f:
            f.seek(start)
            raw = f.read(entry["data_offsets"][1])
        # An empty range cannot be mapped.
        mode = "r" if raw else None
        array = numpy.load(path, mmap_mode=mode)
        assert array.dtype == numpy.dtype(NPY[entry["dtype"]]) and list(array.shape) == entry["shape"], path
        assert array.flags.c_contiguous and array.tobytes() == raw, path
        if array.ndim == 2:
            transposed = numpy.load(path[:-4] + ".t.npy", mmap_mode=mode)
            assert transposed.shape == array.shape[::-1] and transposed.flags.f_contiguous, path
            assert transposed.dtype == array.dtype and transposed.tobytes(order="F") == raw, path
        count += 1
print(count, "arrays")
assert count > 20
END
}

@test "files of a tensor read from many sides at once" {
	find_model tiny-qwen2-4b-g64-asym
	mount_model -o view=tensors "$source" "$mnt"
	for file in q_proj.safetensors qkv_proj.npy k_proj.t.npy o_proj.info; do
		cp "$mnt/model/layers/0/self_attn/$file" "$BATS_TEST_TMPDIR/copy"
		"$HAMMER" -s 7 -n 100 "$mnt/model/layers/0/self_attn/$file" "$BATS_TEST_TMPDIR/copy"
	done
}

@test "every file whole, in pieces and by mmap" {
	make_source names
	mount_model -o view=tensors "$model" "$mnt"
	python3 -S - "$mnt" <<'END'
import mmap, os, random, sys
rnd = random.Random(1)
for where, _, files in os.walk(os.fsencode(sys.argv[1])):
    for file in files:
        fd = os.open(os.path.join(where, file), os.O_RDONLY)
        size = os.fstat(fd).st_size
        data = os.read(fd, size + 1)
        assert len(data) == size, file
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as m:
            assert m[:] == data, file
        for _ in range(5):
            at, n = rnd.randrange(size), rnd.randrange(size)
            assert os.pread(fd, n, at) == data[at:at + n], file
        os.close(fd)
END
	# The same without the page cache, each piece computed by itself.
	cp -r "$mnt" "$BATS_TEST_TMPDIR/copy"
	unmount "$mnt"
	mount_model -o view=tensors,direct_io "$model" "$mnt"
	python3 -S - "$mnt" "$BATS_TEST_TMPDIR/copy" <<'END'
import os, random, sys
rnd = random.Random(2)
root, copy = map(os.fsencode, sys.argv[1:])
for where, _, files in os.walk(root):
    for file in files:
        path = os.path.join(where, file)
        with open(os.path.join(copy, os.path.relpath(path, root)), "rb") as f:
            data = f.read()
        fd = os.open(path, os.O_RDONLY)
        for _ in range(20):
            at, n = rnd.randrange(len(data) + 1), rnd.choice((1, 7, 64, len(data)))
            assert os.pread(fd, n, at) == data[at:at + n], (file, at, n)
        os.close(fd)
END
}
