#!/usr/bin/env python3
"""Exports the models of exports.yaml with torch.export and keeps their graphs, without weights.

    export_models.py tests/truth/exports.yaml tests/truth/exports/graphs [--only ID ...]

Each case becomes ID.json.gz: the graph of the archive that torch.export.save writes (models/model.json), and beside it, as
"weights_config", the archive's table of weights. Nothing is left out of the graph but the folders of the installation in its stack
traces. The model is exported as the case runs it, in its mode and on the host; the record of the same case is that of the eager
model, which is what a user runs. Cases with `graph` are other runs of the graph of that name.
"""
import argparse, contextlib, gzip, io, json, re, zipfile

import torch
import yaml

DEFAULTS = dict(mode="train", batch=1, seq=128, image=224, precision="fp32", attention="sdpa")


def model_of(case):
    """Made in the case's type, as from_pretrained and the recorder make it: buffers that name float32 keep it."""
    source, dtype = case["model"], {"bf16": torch.bfloat16, "fp16": torch.float16}.get(case["precision"], torch.float32)
    torch.set_default_dtype(dtype)
    try:
        if source["library"] == "transformers":
            import transformers
            import own_losses  # noqa: F401
            from transformers.integrations.executorch import register_dynamic_cache_export_support
            with contextlib.suppress(ValueError):  # known already
                register_dynamic_cache_export_support()
            architecture = getattr(transformers, source["architecture"])
            config = architecture.config_class(**source.get("config", {}))
            config._attn_implementation = case["attention"]
            model = architecture(config)
        elif source["library"] == "torchvision":
            import torchvision
            model = torchvision.models.get_model(source["name"], weights=None, **source.get("args", {}))
        else:
            import timm
            model = timm.create_model(source["name"], pretrained=False, **source.get("args", {}))
    finally:
        torch.set_default_dtype(torch.float32)
    return model.train(case["mode"] == "train")


def inputs_of(case, model):
    batch, image = case["batch"], case["image"]
    training = case["mode"] == "train"
    if case["model"]["library"] != "transformers":
        return (torch.zeros(batch, 3, image, image, dtype=next(model.parameters()).dtype),), {}
    classes = torch.zeros(batch, dtype=torch.long)
    if "pixel" in model.main_input_name:
        pixels = torch.zeros(batch, model.config.num_channels, image, image, dtype=model.dtype)
        return (), {"pixel_values": pixels, **({"labels": classes} if training else {})}
    ids = torch.zeros(batch, case["seq"], dtype=torch.long)
    labels = classes if "SequenceClassification" in case["model"]["architecture"] else ids
    return (), {"input_ids": ids, **({"labels": labels} if training else {})}


def export(case):
    model = model_of(case)
    args, kwargs = inputs_of(case, model)
    grad = torch.enable_grad() if case["mode"] == "train" else torch.no_grad()
    with grad:
        program = torch.export.export(model, args, kwargs, strict=False)
    archive = io.BytesIO()
    torch.export.save(program, archive)
    with zipfile.ZipFile(archive) as files:
        def read(end):
            return json.loads(files.read(next(name for name in files.namelist() if name.endswith(end))))
        return {**read("models/model.json"), "weights_config": read("weights/model_weights_config.json")}


def without_folders(value):
    """Stack traces name the files below the installation's folder, or this one."""
    return re.sub(r'File \\"[^"]*?(?:site-packages|tests/truth)/', r'File \\"', json.dumps(value, separators=(",", ":")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases"); parser.add_argument("out"); parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    with open(arguments.cases) as file:
        cases = yaml.safe_load(file)
    for case in cases:
        if "graph" in case or (arguments.only and case["id"] not in arguments.only):
            continue
        text = without_folders(export({**DEFAULTS, **case}))
        with open(f"{arguments.out}/{case['id']}.json.gz", "wb") as file:
            file.write(gzip.compress(text.encode(), mtime=0))
        print(case["id"], len(text), flush=True)


if __name__ == "__main__":
    main()
