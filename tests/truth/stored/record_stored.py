#!/usr/bin/env python3
"""Records runs of checkpoints that store quantised weights, as record.py does, with the model from `from_pretrained`.

    record_stored.py CASES.yaml [--out TRUTH.jsonl] [--only ID ...] [--trace DIR] [--models DIR] [--stacks]

A case has the keys of record.py's; its `stored` is the `quantization_config` to quantise with before the model is saved:
{load_in_4bit: true, bnb_4bit_quant_type: nf4, ...}. The saved folder is what is then loaded and run. The order of a
threaded load is not defined, so loading is sequential (HF_DEACTIVATE_ASYNC_LOAD=1). ORACLE names the folder of record.py; --models DIR
writes each checkpoint's config and header.
"""
import gzip, json, os, struct, sys, tempfile

sys.path.insert(0, os.environ.get("ORACLE", os.path.dirname(os.path.abspath(__file__))))
import record


def read_header(path):
    with open(path, "rb") as f:
        length, = struct.unpack("<Q", f.read(8))
        return json.loads(f.read(length))


def write(case, folder, describe_in):
    """Writes the quantised checkpoint of a case, in a process of its own."""
    import torch, transformers
    source = case["model"]
    architecture = getattr(transformers, source["architecture"])
    config = architecture.config_class(**source.get("config", {}))
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(case.get("stored_dtype", case["precision"]), torch.float32)
    plain = os.path.join(folder, "plain")
    architecture(config).to(dtype).save_pretrained(plain)
    wanted = dict(case["stored"])
    method = wanted.pop("quant_method", "bitsandbytes")
    quantization = {"bitsandbytes": transformers.BitsAndBytesConfig, "fp8": transformers.FineGrainedFP8Config}[method](**wanted)
    model = architecture.from_pretrained(plain, quantization_config=quantization, dtype=dtype, device_map="cuda")
    stored = os.path.join(folder, "stored")
    model.save_pretrained(stored)
    if describe_in:
        os.makedirs(describe_in, exist_ok=True)
        with open(os.path.join(stored, "config.json")) as f:
            config = json.load(f)
        header = read_header(os.path.join(stored, "model.safetensors"))
        with gzip.open(os.path.join(describe_in, case["id"] + ".json.gz"), "wt") as f:
            f.writelines(json.dumps(value, separators=(",", ":")) + "\n" for value in (config, header))


def stand_in_for_fp8_kernels(torch):
    """finegrained-fp8 comes from the hub and its kernels need a GPU: this allocates what its `matmul_2d` does for weights with
    a scale a block, the output, and on a new key the buffer of Triton's tuning (triton/testing.py, `do_bench`)."""
    from transformers.integrations import finegrained_fp8
    tuned = set()

    def matmul(A, B, Bs, block_size, output_dtype, activation_scale=None):
        rows = A.numel() // A.shape[-1]
        C = A.new_empty(A.shape[:-1] + (B.shape[0],), dtype=output_dtype)
        key = (*B.shape, min(max(1 << (rows - 1).bit_length(), 16), 128))
        if key not in tuned:
            tuned.add(key)
            torch.empty(1 << 26, dtype=torch.int, device=A.device)
        return C

    finegrained_fp8._FINEGRAINED_FP8 = finegrained_fp8.FineGrainedFP8(matmul=matmul, batched_matmul=None, grouped_matmul=None)


def load(case, folder):
    import torch, transformers
    if case["stored"].get("quant_method") == "fp8":
        stand_in_for_fp8_kernels(torch)
    architecture = getattr(transformers, case["model"]["architecture"])
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(case["precision"], torch.float32)
    # The description of a 4-bit weight is read back from the device, where the emulated one would give zeros.
    os.environ["EMULATED_KEEP_COPIES"] = "1"
    model = architecture.from_pretrained(os.path.join(folder, "stored"), dtype=dtype, device_map="cuda", attn_implementation=case["attention"])
    os.environ.pop("EMULATED_KEEP_COPIES")
    return model


def one(cases, args):
    case = next(c for c in cases if c["id"] == args.one)
    case = {**record.DEFAULTS, **case}
    folder = os.environ["STORED_FOLDER"]
    if os.environ.get("STORED_WRITE"):
        write(case, folder, args.models)
        return
    record.build_model = lambda case, torch: load(case, folder)
    trace = os.path.join(args.trace, case["id"] + ".json") if args.trace else None
    print("RECORD " + json.dumps(record.run(case, trace, None, args.stacks)))


def main():
    import argparse, shutil, subprocess, yaml
    parser = argparse.ArgumentParser()
    parser.add_argument("cases"); parser.add_argument("--out"); parser.add_argument("--only", nargs="*"); parser.add_argument("--trace")
    parser.add_argument("--models"); parser.add_argument("--stacks", action="store_true"); parser.add_argument("--one")
    args = parser.parse_args()
    cases = yaml.safe_load(open(args.cases))
    if args.one:
        return one(cases, args)
    if args.trace:
        os.makedirs(args.trace, exist_ok=True)
    out = open(args.out, "a") if args.out else sys.stdout
    failed = 0
    for case in cases:
        if args.only and case["id"] not in args.only:
            continue
        folder = tempfile.mkdtemp()
        command = [sys.executable, os.path.abspath(__file__), args.cases, "--one", case["id"]]
        for flag, value in (("--trace", args.trace), ("--models", args.models)):
            command += [flag, value] if value else []
        command += ["--stacks"] if args.stacks else []
        env = {**os.environ, **case.get("env", {}), "STORED_FOLDER": folder, "HF_DEACTIVATE_ASYNC_LOAD": "1", "HF_HUB_OFFLINE": "1"}
        written = subprocess.run(command, capture_output=True, text=True, env={**env, "STORED_WRITE": "1"})
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        shutil.rmtree(folder)
        lines = [l for l in done.stdout.splitlines() if l.startswith("RECORD ")]
        if not lines:
            failed += 1
            for stage in (written, done):
                print(f"{case['id']}: {stage.stderr.strip()[-3000:]}", file=sys.stderr)
            continue
        out.write(lines[0][len("RECORD "):] + "\n"); out.flush()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
