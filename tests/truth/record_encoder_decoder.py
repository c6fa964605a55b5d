#!/usr/bin/env python3
"""Records inference and generation of encoder-decoder models, as record.py does for others.

    record_encoder_decoder.py CASES.yaml --out TRUTH.jsonl [--only ID ...] [--trace DIR] [--stacks]

Inference: the decoder reads the encoder's token ids. Generation: the encoder runs once, the decoder begins with one token, then
come `new_tokens` steps on its cache, all with the encoder's output. Training is record.py's. ORACLE names record.py's folder.
"""
import argparse, json, os, subprocess, sys

sys.path.insert(0, os.environ.get("ORACLE", os.path.dirname(os.path.abspath(__file__))))
import record

inputs_of_a_language_model = record.inputs_for


def inputs_for(case, model, torch):
    batch = inputs_of_a_language_model(case, model, torch)
    if case["mode"] == "infer":
        batch["decoder_input_ids"] = batch["input_ids"]
    if case["mode"] == "generate":
        model.forward = generating(model, model.forward, case, torch)
    return batch


def generating(model, forward, case, torch):
    """record.py prefills with `input_ids`, then hands the cache back with each token."""
    kept = {}

    def call(input_ids, past_key_values=None, use_cache=None, logits_to_keep=None):
        if past_key_values is None:
            kept["encoder_outputs"] = model.get_encoder()(input_ids=input_ids)
            kept["start"] = input_ids = torch.zeros(case["batch"], 1, dtype=torch.long, device="cuda")
        return forward(encoder_outputs=kept["encoder_outputs"], decoder_input_ids=input_ids, past_key_values=past_key_values, use_cache=use_cache)

    return call


record.inputs_for = inputs_for


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases"); parser.add_argument("--out"); parser.add_argument("--only", nargs="*"); parser.add_argument("--trace")
    parser.add_argument("--stacks", action="store_true"); parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    import yaml
    cases = [case for case in yaml.safe_load(open(args.cases)) if not args.only or case["id"] in args.only]
    if args.one:
        case = next(case for case in cases if case["id"] == args.one)
        trace = os.path.join(args.trace, case["id"] + ".json") if args.trace else None
        print("RECORD " + json.dumps(record.run(case, trace, None, args.stacks)))
        return
    for case in cases:
        command = [sys.executable, os.path.abspath(__file__), args.cases, "--one", case["id"]] + (["--trace", args.trace] if args.trace else []) + (["--stacks"] if args.stacks else [])
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **case.get("env", {})})
        lines = [line for line in done.stdout.splitlines() if line.startswith("RECORD ")]
        if not lines:
            print(f"{case['id']}: {(done.stderr.strip().splitlines() or ['no output'])[-1]}", file=sys.stderr)
            continue
        with open(args.out, "a") as out:
            out.write(lines[0][len("RECORD "):] + "\n")


if __name__ == "__main__":
    main()
