#!/usr/bin/env python3
"""Records classes of torch.nn in files of their own (classes/), as record.py does others.

    record_classes.py CASES.yaml --out TRUTH.jsonl [--only ID ...] [--stacks]

A case has record.py's keys, and as its model one of record.py's, or {library: diffusers, architecture: UNet2DConditionModel, config: {...}, inputs: {sample:
"float[2,4,32,32]", ...}, target: "float[2,4,32,32]"}, trained on the mean of squares in float32, or {class: nets.py:ConvNet, init: "width=64", inputs: {x: "float32[8,3,64,64]"}, loss: own |
cross-entropy | sum, labels: N}. `inputs` go into forward by name. A loss of its own is the first number that forward returns; the others
are made of the first tensor that it returns. Each line holds its trace as `events`. ORACLE names record.py's folder.
"""
import argparse, importlib.util, json, os, sys, tempfile, traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.environ.get("ORACLE", HERE))
import record


class Maker:
    """What record.py takes for an architecture of transformers: it makes a config, then a model of it."""

    def __init__(self, place, init):
        self.place, self.init = place, init

    class config_class:
        pass

    def __call__(self, config):
        if isinstance(self.place, type):
            return self.place(**{name: value for name, value in self.init.items() if name != "frames"})
        file, name = self.place.rsplit(":", 1)
        spec = importlib.util.spec_from_file_location("own_classes", os.path.join(HERE, "classes", file))
        module = importlib.util.module_from_spec(spec)
        sys.modules["own_classes"] = module
        spec.loader.exec_module(module)
        return eval(f"{name}({self.init})", vars(module))


class Batch(dict):
    """What record.py hands to a model by name, whatever it asks for."""

    def __contains__(self, key):
        return True


class Out:
    """What a model returned, with the loss that is made of it."""

    def __init__(self, value, loss):
        self.value, self.loss = value, loss


def number_in(out, torch):
    if isinstance(out, torch.Tensor):
        return out if out.ndim == 0 else None
    for part in out.values() if isinstance(out, dict) else out if isinstance(out, (tuple, list)) else ():
        found = number_in(part, torch)
        if found is not None:
            return found
    return None


def scores_in(out, torch):
    if isinstance(out, torch.Tensor):
        return out
    return scores_in(next(iter(out.values() if isinstance(out, dict) else out)), torch)


def tensor(text, model, torch):
    """`float[2,4,32,32]`, where float is the weights' type; a mapping has a tensor by each name."""
    if isinstance(text, dict):
        return {name: tensor(part, model, torch) for name, part in text.items()}
    if isinstance(text, list):
        return tuple(tensor(part, model, torch) for part in text)
    if text is None or isinstance(text, (int, float)):
        return text
    dtype, sizes = text.rstrip("]").split("[")
    dtype = next(model.parameters()).dtype if dtype == "float" else getattr(torch, dtype)
    return torch.zeros([int(size) for size in sizes.split(",") if size], dtype=dtype, device="cuda")


def inputs_of_diffusers(case, model, torch):
    """Inputs by name, then what should come out (examples/text_to_image/train_text_to_image.py)."""
    batch = Batch({name: tensor(text, model, torch) for name, text in case["model"]["inputs"].items()})
    if case["mode"] != "infer":
        target, forward = tensor(case["model"]["target"], model, torch), model.forward

        def with_loss(**given):
            out = forward(**given)
            return Out(out, torch.nn.functional.mse_loss(out.sample.float(), target.float(), reduction="mean"))

        model.forward = with_loss
    return batch


def checkpointed_as_diffusers(case, model):
    """`enable_gradient_checkpointing()` where all is checkpointed."""
    if case["checkpoint"] == "full":
        model.enable_gradient_checkpointing()


def inputs_for(case, model, torch):
    types = {"float": next(model.parameters()).dtype}
    batch = Batch()
    for name, text in case["model"]["inputs"].items():
        dtype, sizes = text.rstrip("]").split("[")
        sizes = [int(size) for size in sizes.split(",") if size]
        batch[name] = torch.zeros(sizes, dtype=types.get(dtype) or getattr(torch, dtype), device="cuda")
    kind = case["model"].get("loss", "own")
    labels = None
    if case["mode"] != "infer" and kind == "cross-entropy":
        labels = torch.zeros(case["model"]["labels"], dtype=torch.long, device="cuda")
    if case["mode"] != "infer":
        forward, amp = model.forward, case["precision"].startswith("amp")

        def with_loss(**given):
            out = forward(**given)
            if kind == "own":
                return Out(out, number_in(out, torch))
            scores = scores_in(out, torch)
            if kind == "sum":
                return Out(out, scores.sum())
            scores = scores.float() if amp else scores
            if scores.ndim > 2:
                scores = scores.reshape(-1, scores.shape[-1])
            return Out(out, torch.nn.functional.cross_entropy(scores, labels))

        model.forward = with_loss
    return batch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases"); parser.add_argument("--out", required=True); parser.add_argument("--only", nargs="*")
    parser.add_argument("--stacks", action="store_true")
    args = parser.parse_args()
    import yaml, torch, transformers
    inputs_of_others = record.inputs_for

    def chosen(case):
        return inputs_for if "class" in case["model"] else inputs_of_diffusers if "inputs" in case["model"] else inputs_of_others

    record.inputs_for = lambda case, model, torch: chosen(case)(case, model, torch)
    cases = [case for case in yaml.safe_load(open(args.cases)) if not args.only or case["id"] in args.only]
    failed = 0
    for case in cases:
        child = os.fork()
        if not child:
            try:
                os.environ.update(case.get("env", {}))
                source = dict(case["model"])
                own = "class" in source or source["library"] == "diffusers"
                if source.get("library") == "diffusers":
                    import diffusers
                    made = Maker(getattr(diffusers, source["architecture"]), source["config"])
                    sys.modules["transformers"].Recorded = made  # diffusers loads that module anew
                    record.apply_checkpointing = checkpointed_as_diffusers
                    case["model"].update(library="transformers", architecture="Recorded", config={})
                elif own:
                    case["model"].update(library="transformers", architecture="Recorded")
                    transformers.Recorded = Maker(case["model"]["class"], case["model"].get("init", ""))
                with tempfile.TemporaryDirectory() as folder:
                    trace = os.path.join(folder, "trace.json")
                    made = record.run(case, trace, None, args.stacks)
                    made["events"] = json.load(open(trace))["events"]
                if own:
                    made["case"]["model"] = source
                with open(args.out, "a") as out:
                    out.write(json.dumps(made) + "\n")
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            failed += 1
            print(f"{case['id']}: not recorded", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
