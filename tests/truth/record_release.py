#!/usr/bin/env python3
"""Records the cases of tests/truth anew with the PyTorch and transformers that this Python has, and says which of them moved.

    record_release.py record OUT [SET ...] [--only ID ...] [--jobs N] [--stacks]
    record_release.py compare OLD NEW [--most N]

`record` takes the cases of each SET.jsonl (all sets where none is named) and appends a line a case to OUT/SET.jsonl: the record
with its trace as `events`. What OUT has already is not recorded again. `pack OUT` makes OUT/SET.jsonl.gz of them, as the tests read them.
`compare` goes through two such files (or a SET.jsonl beside its folder of traces) and prints, grouped by what the first differing events are, which
cases moved and by how much.

ORACLE names the folder of record.py. One import serves all cases: each is a fork of this process, which has not touched CUDA.
"""
import argparse, collections, functools, gzip, json, math, os, sys, time, traceback

HERE = os.path.dirname(os.path.abspath(__file__))
SETS = ["truth", "unseen", "text", "caches", "experts", "optimizers", "adapters", "combinations", "selective", "parallel", "vision", "exports", "long", "targets", "sharding", "imported", "lora", "losses", "own", "speech", "older"]
OVERLOADS = {"add": "Tensor", "div": "Tensor", "mean": "dim", "mul": "Tensor", "pow": "Tensor_Scalar", "sub": "Tensor", "sum": "dim_IntList", "where": "self"}


# ---- what record.py's cases do not say ------------------------------------------------------------------------------------

def words(text):
    """`8,reshard=false` as (8, {"reshard": "false"}); a key alone is true."""
    first, *rest = str(text).split(",")
    return int(first), {key.strip(): value.strip() or "true" for key, _, value in (part.partition("=") for part in rest)}


def parallelise(case, model, torch):
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore
    (kind, said), = case["parallel"].items()
    ranks, options = words(said)
    dist.init_process_group("fake", rank=0, world_size=ranks, store=FakeStore())
    if kind == "ddp":
        def hook(state, bucket):
            reduced = torch.futures.Future()
            reduced.set_result(bucket.buffer())
            return reduced

        given = {key: value == "true" for key, value in options.items() if key != "bucket_cap_mb"}
        if "bucket_cap_mb" in options:
            given["bucket_cap_mb"] = int(options["bucket_cap_mb"])
        model = torch.nn.parallel.DistributedDataParallel(model, device_ids=[0], **{"init_sync": False, **given})
        model.register_comm_hook(None, hook)
        return model
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard
    types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    policy = {key: types[options[key]] for key in ("param_dtype", "reduce_dtype") if key in options}
    given = {"mp_policy": MixedPrecisionPolicy(**policy)} if policy else {}
    if "reshard" in options:
        given["reshard_after_forward"] = options["reshard"] == "true"
    if options.get("offload") == "true":
        given["offload_policy"] = CPUOffloadPolicy()
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList):
            for block in module:
                fully_shard(block, **given)
    fully_shard(model, **given)
    if options.get("load") == "meta":
        offload = options.get("offload") == "true"
        model.to_empty(device="cpu" if offload else "cuda")
        for module in model.modules() if offload else ():
            module._buffers.update({name: buffer.to("cuda") for name, buffer in module._buffers.items() if buffer is not None})
    return model


def contexts(names, torch):
    """The argument that makes a checkpoint save what these operators give."""
    if not names:
        return {}
    from torch.utils.checkpoint import create_selective_checkpoint_contexts
    parts = [name.partition(".") for name in names]
    operators = [getattr(getattr(torch.ops.aten, name), overload or OVERLOADS.get(name, "default")) for name, _, overload in parts]
    return {"context_fn": functools.partial(create_selective_checkpoint_contexts, operators)}


def apply_checkpointing(case, model):
    import torch
    from torch.utils.checkpoint import checkpoint
    wanted, saved = case["checkpoint"], case.get("checkpoint_save")
    how = {"use_reentrant": bool(case.get("reentrant"))}
    if wanted == "none":
        return
    if wanted == "full":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={**how, **contexts(saved, torch)})
        return
    for region in wanted:
        path, _, own = region.partition(":")
        module = model.get_submodule(path)
        given = {**how, **contexts(own.split("+") if own else saved, torch)}
        module.forward = lambda *a, _inner=module.forward, _given=given, **k: checkpoint(_inner, *a, **_given, **k)


def without_double_quantisation():
    from bitsandbytes.nn import Params4bit
    made = Params4bit.__new__
    Params4bit.__new__ = lambda cls, *a, **k: made(cls, *a, **{**k, "compress_statistics": False})


def with_all_choices(choices):
    """record.py gives LoraConfig the rank, alpha, dropout and targets alone."""
    import peft
    others = {key: value for key, value in choices.items() if key not in ("r", "alpha", "dropout", "targets")}
    peft.LoraConfig = functools.partial(peft.LoraConfig, **others)


def loaded_to(case):
    """Where the model lies before fully_shard: record.py moves it to the device."""
    return words(case["parallel"]["fsdp"])[1].get("load", "cuda") if "fsdp" in (case.get("parallel") or {}) else "cuda"


def children_once(children):
    """record.py moves each module that it meets: one that stands in two places (T5's embeddings up to transformers 4.57) is met once."""
    met = set()

    def of(module):
        moves = sys._getframe(1).f_code.co_name == "move"
        for child in children(module):
            if not moves or child not in met:
                met.update([child] if moves else [])
                yield child

    return of


def with_own_types(build_model):
    """record.py puts every parameter on the device in the case's type; here those whose source names a type keep it, and a model that
    is sharded from the CPU or from the meta device lies there."""
    def build(case, torch):
        empty_like, to, children, device = torch.empty_like, torch.Tensor.to, torch.nn.Module.children, loaded_to(case)
        moved = {} if device in ("cuda", "gpu") else {"device": device}
        torch.empty_like = lambda like, **given: empty_like(like, **{**given, **moved, **({"dtype": like.dtype} if isinstance(like, torch.nn.Parameter) else {})})
        torch.nn.Module.children = children_once(torch.nn.Module.children)
        if moved:
            torch.Tensor.to = lambda tensor, *given, **named: to(tensor, *(device if word == "cuda" else word for word in given), **named)
        try:
            return build_model(case, torch)
        finally:
            torch.empty_like, torch.Tensor.to, torch.nn.Module.children = empty_like, to, children

    return build


def in_the_cases_type(quantize):
    """Biases of the layers that record.py makes anew are of the case's type, as the model's own are."""
    def within(model, kind, dtype, torch):
        torch.set_default_dtype(dtype)
        try:
            quantize(model, kind, dtype, torch)
        finally:
            torch.set_default_dtype(torch.float32)

    return within


def sound_sizes(name, config, seq):
    """A waveform of `seq` samples or the spectrogram that the config describes; `seq` frames of features."""
    if name == "input_values":
        both = getattr(config, "max_length", None), getattr(config, "num_mel_bins", None)
        return both if None not in both else (seq,)
    return seq, next(getattr(config, key) for key in ("feature_projection_input_dim", "num_mel_bins", "input_feat_per_channel") if getattr(config, key, None))


def with_inputs_of_heads(case):
    """record.py knows labels of language models and of sequence classifiers; other heads take others."""
    import inspect, record
    plain, architecture = record.inputs_for, case["model"]["architecture"]

    def inputs_for(case, model, torch):
        def integers(*sizes):
            return torch.zeros(*sizes, dtype=torch.long, device="cuda")

        batch, seq, trains = case["batch"], case["seq"], case["mode"] in ("train", "eval_with_grad")
        names, vision = inspect.signature(model.forward).parameters, getattr(model.config, "vision_config", None)
        sound = next((name for name in ("input_values", "input_features") if name == model.main_input_name and name in names), None)
        if sound:
            values = torch.zeros(batch, *sound_sizes(sound, model.config, seq), device="cuda", dtype=model.dtype)
            return {sound: values, "labels": integers(batch)} if trains else {"image": values}  # record.py hands that on by its place
        if architecture.endswith("Model") and {"input_ids", "pixel_values", "return_loss"} <= names.keys():
            pixels = torch.zeros(batch, vision.num_channels, vision.image_size, vision.image_size, device="cuda", dtype=model.dtype)
            return {"input_ids": integers(batch, seq), "pixel_values": pixels, **({"return_loss": True} if trains else {})}
        if "pixel" in model.main_input_name and not hasattr(model.config, "num_channels"):
            model.config.num_channels = getattr(vision or getattr(model.config, "backbone_config", None), "num_channels", 3)
        if architecture.endswith("ForSemanticSegmentation") and trains:
            return {**plain({**case, "mode": "infer"}, model, torch), "labels": integers(batch, case["image"], case["image"])}
        if architecture.endswith("ForTokenClassification"):
            return {"input_ids": integers(batch, seq), **({"labels": integers(batch, seq)} if trains else {})}
        if architecture.endswith("ForQuestionAnswering"):
            return {"input_ids": integers(batch, seq), **({name: integers(batch) for name in ("start_positions", "end_positions")} if trains else {})}
        if architecture.endswith("ForMultipleChoice"):
            return {"input_ids": integers(batch, 4, seq), **({"labels": integers(batch)} if trains else {})}
        if architecture.endswith("ForConditionalGeneration") and not model.config.is_encoder_decoder:
            ids = integers(batch, seq)  # text alone
            return {"input_ids": ids, **({"labels": ids} if trains else {})}
        return plain(case, model, torch)

    record.inputs_for = inputs_for


def with_images(case):
    """Images beside tokens: `images` of `image` rows and columns each for every sequence, whose places lie at its beginning, each image's behind a token. How many places an
    image takes is counted on the host, by a copy of the model. What PyTorch decides by integers is decided by their values, which a shadow of the
    device's tensors keeps."""
    import copy, ctypes, inspect, record, struct, torch
    sys.path.insert(0, os.path.join(os.environ["ORACLE"], "..", "prototype", "record"))
    import shadow

    class Values(shadow.Shadow):
        """The shadow while a forward runs: autograd adds gradients in another way where a mode is active. How many elements of each mask are
        true is told to the device before backward asks."""

        asked = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            aten, packet = torch.ops.aten, func.overloadpacket
            if packet is aten.masked_scatter:
                self.asked.append(int(self.get(args[1]).expand(args[0].shape).sum()))
            elif packet in (aten.index, aten.index_put_) and args[0].is_floating_point():
                masks = [index for index in args[1] if index is not None and index.dtype == torch.bool]
                times = 2 if packet is aten.index_put_ else 1  # for what is written into, and for what is written
                self.asked.extend([self.count(mask) for mask in masks] * times)
            out = super().__torch_dispatch__(func, types, args, kwargs)
            if func is torch.ops.aten.eq.Scalar and args[0].is_floating_point():
                self.put(out, torch.zeros(out.shape, dtype=torch.bool))  # no pixel is a certain number
            return out

        def around(self, forward):
            def within(*args, **kwargs):
                self.asked.clear()
                with self:
                    out = forward(*args, **kwargs)
                for count in reversed(self.asked if torch.is_grad_enabled() else []):
                    ctypes.CDLL(None).emulated_push(ctypes.create_string_buffer(struct.pack("<q", count), 8))
                return out

            return within

    def without_the_shadow(function):
        """Linear.cpp, linear: a bias is added in another way where a mode is active."""
        def within(*args, **kwargs):
            with torch.utils._python_dispatch._disable_current_modes():
                return function(*args, **kwargs)

        return within

    for name in ("linear", "cross_entropy", "layer_norm", "scaled_dot_product_attention", "conv2d", "conv3d", "dropout"):
        setattr(torch.nn.functional, name, without_the_shadow(getattr(torch.nn.functional, name)))

    def pictures(model, torch, device):
        config, names, images, side = model.config, inspect.signature(type(model).forward).parameters, case["batch"] * case["images"], case["image"]
        vision, dtype = config.vision_config, model.dtype
        channels = getattr(vision, "num_channels", None) or getattr(vision, "in_channels", 3)
        if "image_grid_thw" in names:
            rows, depth = side // vision.patch_size, getattr(vision, "temporal_patch_size", 1)
            patches = torch.zeros(images * rows * rows, channels * depth * vision.patch_size**2, dtype=dtype, device=device)
            return {"pixel_values": patches, "image_grid_thw": torch.tensor([[1, rows, rows]] * images).to(device)}
        if hasattr(config, "image_grid_pinpoints"):
            import transformers.models.llava_next.modeling_llava_next as llava_next
            tiles = 1 + math.prod(llava_next.get_anyres_image_grid_shape((side, side), config.image_grid_pinpoints, vision.image_size))
            pixels = torch.zeros(images, tiles, channels, vision.image_size, vision.image_size, dtype=dtype, device=device)
            return {"pixel_values": pixels, "image_sizes": torch.tensor([[side, side]] * images).to(device)}
        if "aspect_ratio_ids" in names:
            tiles, sizes = config.vision_config.max_num_tiles, (case["batch"], case["images"])
            ones = lambda *sizes: torch.ones(*sizes, dtype=torch.long).to(device)
            pixels = torch.zeros(*sizes, tiles, channels, side, side, dtype=dtype, device=device)
            return {"pixel_values": pixels, "aspect_ratio_ids": ones(*sizes), "aspect_ratio_mask": ones(*sizes, tiles), "cross_attention_mask": ones(case["batch"], case["seq"], case["images"], tiles)}
        if "spatial_shapes" in names:
            rows = side // vision.patch_size
            patches = torch.zeros(images, rows * rows, channels * vision.patch_size**2, dtype=dtype, device=device)
            shapes, mask = torch.tensor([[rows, rows]] * images).to(device), torch.ones(images, rows * rows, dtype=torch.long).to(device)
            return {"pixel_values": patches, "spatial_shapes": shapes, "pixel_attention_mask": mask}
        if "pixel_attention_mask" in names:
            return {"pixel_values": torch.zeros(case["batch"], case["images"], channels, side, side, dtype=dtype, device=device)}
        if getattr(vision, "model_type", "") == "pixtral":
            return {"pixel_values": torch.zeros(images, channels, side, side, dtype=dtype, device=device), "image_sizes": torch.tensor([[side, side]] * images).to(device)}
        return {"pixel_values": torch.zeros(images, channels, side, side, dtype=dtype, device=device)}

    def places(model, torch):
        """How many tokens an image takes: the rows of its features."""
        twin = on_the_host(model, torch)
        asked = next((part.get_image_features for part in (twin, getattr(twin, "model", None)) if hasattr(part, "get_image_features")), None)
        if asked is None:
            return case["images"]
        given = {name: torch.ones_like(value) if value.is_floating_point() else value for name, value in pictures(model, torch, "cpu").items()}
        with torch.no_grad():
            features = asked(**given).pooler_output
        rows = lambda part: part.numel() // part.shape[-1]
        return (sum(map(rows, features)) if isinstance(features, (tuple, list)) else rows(features)) // case["batch"]

    def on_the_host(model, torch):
        twin = type(model)(copy.deepcopy(model.config)).eval()
        return twin.to(model.dtype)

    def inputs_for(case, model, torch):
        taken = places(model, torch)
        assert taken + case["images"] <= case["seq"], f"{taken} places of images in {case['seq']} tokens"
        values = Values()
        with values:
            given = on_the_device(case, model, torch, taken)
        model.forward = values.around(model.forward)
        return given

    def on_the_device(case, model, torch, taken):
        config = model.config
        ids = torch.zeros(case["batch"], case["seq"], dtype=torch.long)
        each = taken // case["images"]
        for image in range(case["images"]):
            start = image * (each + 1)
            ids[:, start] = getattr(config, "vision_start_token_id", None) or 0
            ids[:, start + 1 : start + 1 + each] = config.image_token_id
        given = {"input_ids": ids.to("cuda")}
        if case["mode"] in ("train", "eval_with_grad"):
            given["labels"] = given["input_ids"]
        given.update(pictures(model, torch, "cuda"))
        if "mm_token_type_ids" in inspect.signature(type(model).forward).parameters:
            given["mm_token_type_ids"] = (ids == config.image_token_id).int().to("cuda")
        return given

    record.inputs_for = inputs_for


def with_the_cache_by_its_name(build_model):
    """record.py hands the cache as `past_key_values`; some forwards of transformers 5.24 have it as `cache` alone."""
    import inspect

    def build(case, torch):
        model = build_model(case, torch)
        names = inspect.signature(model.forward).parameters
        if "cache" in names and "past_key_values" not in names:
            forward = model.forward

            def renamed(*args, **kwargs):
                if "past_key_values" in kwargs:
                    kwargs["cache"] = kwargs.pop("past_key_values")
                return forward(*args, **kwargs)

            model.forward = renamed
        return model

    return build


def with_its_own_source(name, architecture):
    """transformers has the architecture that own/NAME/modeling_NAME.py defines."""
    import importlib, transformers
    sys.path.insert(0, os.path.join(HERE, "own"))
    module = importlib.import_module(f"{name}.modeling_{name}")
    lazy, found = type(transformers), getattr(module, architecture)
    known = lazy.__getattr__
    lazy.__getattr__ = lambda self, word: found if word == architecture else known(self, word)


def spread_evenly(torch):
    """Tells the emulated device what it is asked for where experts are called in a loop (up to transformers 4.57): token t's j-th
    expert is number t * k + j, counted around."""
    import ctypes, struct
    device = ctypes.CDLL(None)
    nonzero, where, item, one_hot = torch.Tensor.nonzero, torch.where, torch.nn.ModuleList.__getitem__, torch.nn.functional.one_hot
    choices, experts, number = [0], [0], [-1]

    def told(value, ask, *given):
        device.emulated_push(ctypes.create_string_buffer(struct.pack("<q", value), 8))
        try:
            return ask(*given)
        finally:
            device.emulated_clear()

    def chosen(selected, num_classes):
        choices[0], experts[0], number[0] = selected.numel(), num_classes, -1
        return one_hot(selected, num_classes)

    def hit(mask):
        return told(min(experts[0], choices[0]), nonzero, mask) if mask.dtype == torch.bool and mask.shape == (experts[0],) else nonzero(mask)

    def found(*given):
        if len(given) > 1:
            return where(*given)
        return told((choices[0] + experts[0] - 1 - number[0]) // experts[0], where, *given)

    def expert(modules, at):
        number[0] = number[0] + 1 if isinstance(at, torch.Tensor) else at
        return item(modules, number[0] if isinstance(at, torch.Tensor) else at)

    torch.Tensor.nonzero, torch.where, torch.nn.ModuleList.__getitem__, torch.nn.functional.one_hot = hit, found, expert, chosen


def prepare(case):
    """Makes record.py do what this case asks for beyond its keys."""
    import own_losses  # noqa: F401
    import record
    if case.get("optimizer", {}).get("name") == "adadelta":
        options = {key: value for key, value in case["optimizer"].items() if key != "name" and value is not None}
        record.optimizer_for = lambda case, parameters, torch: torch.optim.Adadelta(parameters, lr=1e-3, **options)
    record.parallelise, record.apply_checkpointing = parallelise, apply_checkpointing
    record.build_model, record.quantize = with_own_types(record.build_model), in_the_cases_type(record.quantize)
    if case.get("double_quant") is False:
        without_double_quantisation()
    if case["lora"]:
        with_all_choices(case["lora"])
    if "own" in case["model"]:
        with_its_own_source(case["model"]["own"], case["model"]["architecture"])
    if case["model"]["library"] == "transformers" and "pixel" not in case and "ViT" not in case["model"]["architecture"]:
        import record_caches  # encoder-decoders too: it takes record.inputs_for's place
        plain, both = record_caches.inputs_of_a_language_model, record_caches.inputs_for
        record.inputs_for = lambda case, model, torch: both(case, getattr(model, "module", model), torch) if case["mode"] in ("infer", "generate") else plain(case, model, torch)
    if case["model"].get("architecture") in ("MixtralForCausalLM", "DeepseekV3ForCausalLM"):
        import torch, transformers
        if transformers.__version__.startswith("4."):
            spread_evenly(torch)
    if case["model"]["library"] == "transformers":
        with_inputs_of_heads(case)
        if case.get("images"):
            with_images(case)
        if case["mode"] == "generate":
            record.build_model = with_the_cache_by_its_name(record.build_model)
    if case["model"].get("architecture") == "OwnLossLM":
        record.inputs_for = own_losses.inputs_for


# ---- recording --------------------------------------------------------------------------------------------------------------

def read(path):
    """The records of a file, each with its trace where it is at hand."""
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    with opened as lines:
        records = [json.loads(line) for line in lines if line.strip()]
    folder = {"truth": "traces"}.get(os.path.basename(path).split(".")[0], os.path.basename(path).split(".")[0])
    for record in records:
        beside = os.path.join(os.path.dirname(path), folder, record["id"] + ".json.gz")
        if "events" not in record and os.path.exists(beside):
            with gzip.open(beside, "rt") as trace:
                record["events"] = json.load(trace)["events"]
    return records


def child(case, trace, out, stacks):
    import record
    os.environ.update(case.get("env") or {})
    prepare(case)
    import transformers
    release = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    if release >= (5, 21) and case["model"].get("architecture", "").startswith("Gemma2"):
        case = {**case, "attention": "eager", "sdpa": None}  # its soft-capping is refused under sdpa from 5.21 on
    recorded = record.run(case, trace, None, stacks)
    with open(trace) as written:
        recorded["events"] = json.load(written)["events"]
    os.remove(trace)
    with open(out, "a") as lines:
        lines.write(json.dumps(recorded, separators=(",", ":")) + "\n")


def record_all(args):
    sys.path.insert(0, HERE)
    sys.path.insert(0, os.environ.get("ORACLE", HERE))
    import torch, torchvision, transformers, timm, record  # noqa: F401
    import transformers.modeling_utils, transformers.models.gpt2.modeling_gpt2, transformers.models.llama.modeling_llama  # noqa: F401
    os.makedirs(args.out, exist_ok=True)
    wanted = [(name, record) for name in args.sets or SETS for record in read_cases(name)]
    done = {(name, record["id"]) for name in args.sets or SETS for record in existing(args.out, name)}
    left = [(name, case) for name, case in wanted if (name, case["id"]) not in done and (not args.only or case["id"] in args.only)]
    running, failed = {}, []
    began = time.time()
    for number, (name, case) in enumerate(left):
        if len(running) >= args.jobs:
            reap(running, failed)
        trace = os.path.join(args.out, f".{name}-{case['id'].replace('/', '_')}.json")
        process = os.fork()
        if process:
            running[process] = f"{name} {case['id']}"
            continue
        try:
            sys.stderr = open(os.path.join(args.out, f".{name}-{case['id']}.log"), "w")
            child(case, trace, os.path.join(args.out, name + ".jsonl"), args.stacks)
            os.remove(sys.stderr.name)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    while running:
        reap(running, failed)
    print(f"{len(left) - len(failed)} recorded in {time.time() - began:.0f} s, {len(failed)} failed: {' '.join(failed)}")
    sys.exit(1 if failed else 0)


def reap(running, failed):
    process, status = os.wait()
    name = running.pop(process)
    if status:
        failed.append(name.split()[1])
    print(name, "failed: its log is beside the records" if status else "", flush=True)


def read_cases(name):
    with open(os.path.join(HERE, name + ".jsonl")) as lines:
        records = [json.loads(line) for line in lines if line.strip()]
    return [{"id": record["id"], **record["case"]} for record in records]


def existing(out, name):
    path = os.path.join(out, name + ".jsonl")
    return read(path) if os.path.exists(path) else []


def pack(args):
    for name in SETS:
        order = {case["id"]: number for number, case in enumerate(read_cases(name))}
        records = sorted(existing(args.out, name), key=lambda record: order[record["id"]])
        if records:
            with gzip.GzipFile(os.path.join(args.out, name + ".jsonl.gz"), "wb", 9, mtime=0) as packed:
                packed.writelines((json.dumps(record, separators=(",", ":")) + "\n").encode() for record in records)


# ---- comparing --------------------------------------------------------------------------------------------------------------

def moments(events):
    """Allocations as (bytes, stream), each with the frees before it as a set: neighbouring frees have no order."""
    freed, found = set(), []
    for event in events:
        if isinstance(event, int) and event < 0:
            freed.add(-1 - event)
        elif isinstance(event, int):
            found.append(((event, 0), freed))
            freed = set()
        elif "alloc" in event:
            found.append(((event["alloc"], event.get("stream", 0)), freed))
            freed = set()
    return found + [(None, freed)]


def first_difference(old, new):
    """What the first differing moment of two traces is, in words; None where there is none."""
    olds, news = moments(old), moments(new)
    for number, (left, right) in enumerate(zip(olds, news)):
        if left == right:
            continue
        if left[0] == right[0]:
            return number, "the same sizes, other lifetimes"
        coming = [size for size, _ in news[number:number + 60]], [size for size, _ in olds[number:number + 60]]
        if left[0] in coming[0][:8] and left[0] is not None:
            return number, f"new: {' '.join(str(size[0]) for size in coming[0][:coming[0].index(left[0])])}"
        if right[0] in coming[1][:8] and right[0] is not None:
            return number, f"gone: {' '.join(str(size[0]) for size in coming[1][:coming[1].index(right[0])])}"
        return number, f"{left[0][0] if left[0] else 'the end'} became {right[0][0] if right[0] else 'the end'}"
    return None if len(olds) == len(news) else (min(len(olds), len(news)), "one goes on")


def compare(args):
    old, new = ({record["id"]: record for record in read(path)} for path in (args.old, args.new))
    groups, same = collections.defaultdict(list), 0
    for name in old:
        if name not in new:
            groups["not recorded"].append(name)
            continue
        left, right = old[name], new[name]
        moved = [right[key] - left[key] for key in ("max_allocated", "max_reserved")]
        found = first_difference(left["events"], right["events"]) if "events" in left and "events" in right else None
        if found is None and moved == [0, 0]:
            same += 1
            continue
        at, cause = found or (None, "the same events, other peaks")
        by = ", ".join(f"{what} {delta:+} ({100 * delta / left[key]:+.2f} %)" for what, key, delta in zip(("allocated", "reserved"), ("max_allocated", "max_reserved"), moved) if delta)
        groups[cause].append(f"{name} at allocation {at}: {by or 'the same peaks'}")
    print(f"{same} of {len(old)} the same")
    for cause, cases in sorted(groups.items(), key=lambda group: -len(group[1])):
        print(f"\n{cause} ({len(cases)})")
        print("\n".join("  " + case for case in cases[:args.most]))
        if len(cases) > args.most:
            print(f"  and {len(cases) - args.most} more")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("record"); verb.set_defaults(run=record_all)
    verb.add_argument("out"); verb.add_argument("sets", nargs="*"); verb.add_argument("--only", nargs="*"); verb.add_argument("--jobs", type=int, default=1); verb.add_argument("--stacks", action="store_true")
    verb = verbs.add_parser("pack"); verb.set_defaults(run=pack); verb.add_argument("out")
    verb = verbs.add_parser("compare"); verb.set_defaults(run=compare); verb.add_argument("old"); verb.add_argument("new"); verb.add_argument("--most", type=int, default=8)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
