#!/usr/bin/env python3
"""Exports and records models without blocks, with checkpoints around runs of calls: the cases of cutpoints.yaml.

    ORACLE=FOLDER record_cutpoints.py export      the graphs, into cutpoints/graphs
    ORACLE=FOLDER record_cutpoints.py record      the cases, into cutpoints.jsonl.gz, each with its trace
    ORACLE=FOLDER record_cutpoints.py one ID      one of them, to the terminal (with --stacks: who asked)

A region `FIRST..LAST` is a run of calls in one forward. Children of a Sequential are run together by code as `memplan checkpoint
--emit torch` writes it; of the models below, whose code calls operators in between, each choice has a forward of its own, as a
person would write it (FORWARDS).
"""
import functools, gzip, io, json, os, sys, zipfile

import torch
from torch import nn
from torch.nn.functional import relu
from torch.utils.checkpoint import checkpoint

HERE = os.path.dirname(os.path.abspath(__file__))
region = functools.partial(checkpoint, use_reentrant=False)


# ---- models -------------------------------------------------------------------------------------------------------------------

class Flat(nn.Module):
    """A residual network in one forward, without modules for its blocks."""

    def __init__(self, channels=64, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        for block in range(1, 5):
            for half in "ab":
                setattr(self, f"conv{block}{half}", nn.Conv2d(channels, channels, 3, padding=1, bias=False))
                setattr(self, f"norm{block}{half}", nn.BatchNorm2d(channels))
        self.head = nn.Linear(channels, classes)

    def forward(self, x):
        x = relu(self.stem_norm(self.stem(x)))
        y = relu(self.norm1a(self.conv1a(x)))
        y = self.norm1b(self.conv1b(y))
        x = relu(x + y)
        y = relu(self.norm2a(self.conv2a(x)))
        y = self.norm2b(self.conv2b(y))
        x = relu(x + y)
        y = relu(self.norm3a(self.conv3a(x)))
        y = self.norm3b(self.conv3b(y))
        x = relu(x + y)
        y = relu(self.norm4a(self.conv4a(x)))
        y = self.norm4b(self.conv4b(y))
        x = relu(x + y)
        return self.head(x.mean((2, 3)))


class Double(nn.Module):
    def __init__(self, narrow, wide):
        super().__init__()
        self.first = nn.Conv2d(narrow, wide, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(wide)
        self.second = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(self.first_norm(self.first(x)))
        return self.relu(self.second_norm(self.second(x)))


class Up(nn.Module):
    """Each value four times, and a convolution."""

    def __init__(self, wide, narrow):
        super().__init__()
        self.conv = nn.Conv2d(wide, narrow, 3, padding=1)

    def forward(self, x):
        batch, channels, height, width = x.shape
        x = x.view(batch, channels, height, 1, width, 1).expand(-1, -1, -1, 2, -1, 2)
        return self.conv(x.reshape(batch, channels, 2 * height, 2 * width))


class UNet(nn.Module):
    """An encoder and a decoder with a skip at each size."""

    def __init__(self, channels=32, classes=10):
        super().__init__()
        self.enc1 = Double(3, channels)
        self.enc2 = Double(channels, 2 * channels)
        self.enc3 = Double(2 * channels, 4 * channels)
        self.pool = nn.MaxPool2d(2)
        self.middle = Double(4 * channels, 8 * channels)
        self.up3 = Up(8 * channels, 4 * channels)
        self.dec3 = Double(8 * channels, 4 * channels)
        self.up2 = Up(4 * channels, 2 * channels)
        self.dec2 = Double(4 * channels, 2 * channels)
        self.up1 = Up(2 * channels, channels)
        self.dec1 = Double(2 * channels, channels)
        self.head = nn.Conv2d(channels, classes, 1)

    def forward(self, x):
        first = self.enc1(x)
        second = self.enc2(self.pool(first))
        third = self.enc3(self.pool(second))
        x = self.middle(self.pool(third))
        x = self.dec3(torch.cat([self.up3(x), third], 1))
        x = self.dec2(torch.cat([self.up2(x), second], 1))
        x = self.dec1(torch.cat([self.up1(x), first], 1))
        return self.head(x).mean((2, 3))


# ---- forwards with checkpoints, as they are written by hand -------------------------------------------------------------------

def flat_stem_to_add(self, x):
    def to_the_first_add(x):
        x = relu(self.stem_norm(self.stem(x)))
        y = relu(self.norm1a(self.conv1a(x)))
        y = self.norm1b(self.conv1b(y))
        return x + y

    def second_convolutions(x):
        return self.conv2b(relu(self.norm2a(self.conv2a(x))))

    x = relu(region(to_the_first_add, x))
    y = self.norm2b(region(second_convolutions, x))
    x = relu(x + y)
    y = relu(self.norm3a(self.conv3a(x)))
    y = self.norm3b(self.conv3b(y))
    x = relu(x + y)
    y = relu(self.norm4a(self.conv4a(x)))
    y = self.norm4b(self.conv4b(y))
    x = relu(x + y)
    return self.head(x.mean((2, 3)))


def flat_all_but_the_last(self, x):
    def to_the_first_add(x):
        x = relu(self.stem_norm(self.stem(x)))
        y = relu(self.norm1a(self.conv1a(x)))
        y = self.norm1b(self.conv1b(y))
        return x + y

    def second(x):
        y = relu(self.norm2a(self.conv2a(x)))
        return self.norm2b(self.conv2b(y))

    def third(x):
        y = relu(self.norm3a(self.conv3a(x)))
        return self.norm3b(self.conv3b(y))

    def fourth(x):
        return self.norm4a(self.conv4a(x))

    x = relu(region(to_the_first_add, x))
    y = region(second, x)
    x = relu(x + y)
    y = region(third, x)
    x = relu(x + y)
    y = relu(region(fourth, x))
    y = self.norm4b(self.conv4b(y))
    x = relu(x + y)
    return self.head(x.mean((2, 3)))


def double_to_the_second(self, x):
    def to_the_second(x):
        x = self.relu(self.first_norm(self.first(x)))
        return self.second(x)

    return self.relu(self.second_norm(region(to_the_second, x)))


def up_from_reshape(self, x):
    def rest(x):
        return self.conv(x.reshape(batch, channels, 2 * height, 2 * width))

    batch, channels, height, width = x.shape
    x = x.view(batch, channels, height, 1, width, 1).expand(-1, -1, -1, 2, -1, 2)
    return region(rest, x)


def unet_to_the_first_up(self, x):
    def second_encoder(first):
        return self.enc2(self.pool(first))

    def third_encoder(second):
        return self.enc3(self.pool(second))

    def around_the_middle(third):
        return self.up3(self.middle(self.pool(third)))

    first = self.enc1(x)
    second = region(second_encoder, first)
    third = region(third_encoder, second)
    x = self.dec3(torch.cat([region(around_the_middle, third), third], 1))
    x = self.dec2(torch.cat([self.up2(x), second], 1))
    x = self.dec1(torch.cat([self.up1(x), first], 1))
    return self.head(x).mean((2, 3))


def unet_encoders(self, x):
    def second_encoder(first):
        return self.enc2(self.pool(first))

    def third_encoder(second):
        return self.enc3(self.pool(second))

    first = self.enc1(x)
    second = region(second_encoder, first)
    third = region(third_encoder, second)
    x = self.middle(self.pool(third))
    x = self.dec3(torch.cat([self.up3(x), third], 1))
    x = self.dec2(torch.cat([self.up2(x), second], 1))
    x = self.dec1(torch.cat([self.up1(x), first], 1))
    return self.head(x).mean((2, 3))


def unet_within_the_second_skip(self, x):
    def second_encoder(first):
        return self.enc2(self.pool(first))

    def within(second):
        third = self.enc3(self.pool(second))
        x = self.middle(self.pool(third))
        return self.dec3(torch.cat([self.up3(x), third], 1))

    first = self.enc1(x)
    second = region(second_encoder, first)
    x = region(within, second)
    x = self.dec2(torch.cat([self.up2(x), second], 1))
    x = self.dec1(torch.cat([self.up1(x), first], 1))
    return self.head(x).mean((2, 3))


def unet_past_the_first_skip(self, x):
    def within(first):
        second = self.enc2(self.pool(first))
        third = self.enc3(self.pool(second))
        x = self.middle(self.pool(third))
        x = self.dec3(torch.cat([self.up3(x), third], 1))
        x = self.dec2(torch.cat([self.up2(x), second], 1))
        return self.up1(x)

    first = self.enc1(x)
    x = self.dec1(torch.cat([region(within, first), first], 1))
    return self.head(x).mean((2, 3))


# the runs of calls that each forward has under checkpoints, and the module whose forward it is
FORWARDS = [
    ("", flat_stem_to_add, ["stem..%add", "conv2a..conv2b"]),
    ("", flat_all_but_the_last, ["stem..%add", "conv2a..norm2b", "conv3a..norm3b", "conv4a..norm4a"]),
    ("dec1", double_to_the_second, ["dec1.first..dec1.second"]),
    ("dec2", double_to_the_second, ["dec2.first..dec2.second"]),
    ("up1", up_from_reshape, ["up1%reshape..up1.conv"]),
    ("up2", up_from_reshape, ["up2%reshape..up2.conv"]),
    ("up3", up_from_reshape, ["up3%reshape..up3.conv"]),
    ("", unet_to_the_first_up, ["pool..enc2", "pool@1..enc3", "pool@2..up3"]),
    ("", unet_encoders, ["pool..enc2", "pool@1..enc3"]),
    ("", unet_within_the_second_skip, ["pool..enc2", "pool@1..dec3"]),
    ("", unet_past_the_first_skip, ["pool..up1"]),
]


# ---- what is recorded -----------------------------------------------------------------------------------------------------------

def run_all(run, x):
    for child in run:
        x = child(x)
    return x


def run_children(module, lasts, x):
    children = iter(module._modules.items())
    for name, child in children:
        last, run = lasts.get(name), [child]
        while last is not None and name != last:
            name, child = next(children)
            run.append(child)
        x = child(x) if last is None else region(run_all, run, x)
    return x


def apply_checkpointing(case, model):
    wanted = [] if case["checkpoint"] == "none" else list(case["checkpoint"])
    for path, forward, spans in FORWARDS:
        if set(spans) <= set(wanted):
            module = model.get_submodule(path)
            module.forward = functools.partial(forward, module)
            wanted = [span for span in wanted if span not in spans]
    runs = {}
    for path in wanted:
        first, _, last = path.partition("..")
        module = model.get_submodule(first)
        if last:
            runs.setdefault(first.rpartition(".")[0], {})[first.rpartition(".")[2]] = last.rpartition(".")[2]
        else:
            module.forward = lambda *given, _inner=module.forward: region(_inner, *given)
    for path, lasts in runs.items():
        module = model.get_submodule(path)
        assert isinstance(module, nn.Sequential), f"{path}: write a forward for {lasts}"
        module.forward = functools.partial(run_children, module, lasts)


def model_of(source):
    if source["library"] == "cutpoints":
        return globals()[source["name"]](**source.get("args", {}))
    import torchvision
    return torchvision.models.get_model(source["name"], weights=None, **source.get("args", {}))


def cases():
    import yaml
    with open(os.path.join(HERE, "cutpoints.yaml")) as file:
        return [{"image": 224, "batch": 1, **case} for case in yaml.safe_load(file)]


def export():
    from export_models import without_folders
    for graph, case in {case["graph"]: case for case in cases()}.items():
        images = torch.zeros(case["batch"], 3, case["image"], case["image"])
        archive = io.BytesIO()
        torch.export.save(torch.export.export(model_of(case["model"]).train(), (images,), strict=False), archive)
        with zipfile.ZipFile(archive) as files:
            def read(end):
                return json.loads(files.read(next(name for name in files.namelist() if name.endswith(end))))
            whole = {**read("models/model.json"), "weights_config": read("weights/model_weights_config.json")}
        with open(os.path.join(HERE, "cutpoints", "graphs", graph + ".json.gz"), "wb") as file:
            file.write(gzip.compress(without_folders(whole).encode(), mtime=0))


def recorded(case, stacks=False):
    """A case's record, with its trace."""
    sys.path.insert(0, os.environ.get("ORACLE", HERE))
    import record
    build = record.build_model

    def build_model(case, torch):
        """record.py's own, for a model that it does not know: as one of torchvision."""
        import torchvision
        made, model_given = torchvision.models.get_model, lambda *_, **__: model
        with torch.device("meta"):
            model = model_of(case["model"])
        torchvision.models.get_model = model_given
        try:
            return build({**case, "model": {**case["model"], "library": "torchvision"}}, torch)
        finally:
            torchvision.models.get_model = made

    record.build_model, record.apply_checkpointing = build_model, apply_checkpointing
    trace = os.path.join("/tmp", f"cutpoints-{os.getpid()}.json")
    line = record.run(case, trace, None, stacks)
    with open(trace) as written:
        line["events"] = json.load(written)["events"]
    os.remove(trace)
    return line


def record_all():
    lines = []
    for case in cases():
        reader, writer = os.pipe()
        process = os.fork()  # each case in a process of its own, on a device that was not used
        if not process:
            os.close(reader)
            with os.fdopen(writer, "w") as pipe:
                json.dump(recorded(case), pipe, separators=(",", ":"))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            lines.append(json.load(pipe))
        os.waitpid(process, 0)
        print(case["id"], lines[-1]["max_allocated"], lines[-1]["max_reserved"], flush=True)
    with gzip.GzipFile(os.path.join(HERE, "cutpoints.jsonl.gz"), "wb", 9, mtime=0) as packed:
        packed.writelines((json.dumps(line, separators=(",", ":")) + "\n").encode() for line in lines)


if __name__ == "__main__":
    sys.path.insert(0, HERE)
    if sys.argv[1] == "export":
        export()
    elif sys.argv[1] == "record":
        record_all()
    else:
        for event in recorded(next(case for case in cases() if case["id"] == sys.argv[2]), "--stacks" in sys.argv)["events"]:
            print(event)
