"""Any module of PyTorch, exported and planned. PyTorch is needed for that alone, and imported where it is."""

from __future__ import annotations

import copy
import inspect
import os
import re
import tempfile
import warnings
from typing import Any, Optional

from ._program import MemplanError
from ._results import Plan


def estimate(
    model: Any,
    *inputs: Any,
    kwargs: Optional[dict[str, Any]] = None,
    dynamic_shapes: Any = None,
    optimizer: Any = None,
    name: Optional[str] = None,
    **options: Any,
) -> Plan:
    """Plans a run of a ``torch.nn.Module`` on these inputs, as ``torch.export.export`` sees it. No tensor is copied and none is computed:
    the module and the inputs may be on any device, ``meta`` included, or made in a ``FakeTensorMode``.

    ``optimizer`` is a class or an instance of PyTorch's or bitsandbytes' optimizers, or a name as ``--optimizer`` has it. A module in
    training mode, or with an optimizer, is trained; else it infers, unless ``mode`` says something else. ``dynamic_shapes`` is the
    export's; sizes that it leaves open are bound by ``batch``, ``seq`` or ``dim``.
    """
    folder = tempfile.TemporaryDirectory(prefix="memplan-")
    path = os.path.join(folder.name, f"{file_name(name or type(model).__name__)}.pt2")
    export(model, inputs, kwargs, dynamic_shapes, path)
    return Plan([path], run_of(model, optimizer, options), folder)


def run_of(model: Any, optimizer: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a run of this module, with what it and the installed PyTorch say."""
    import torch

    run = {"mode": "train" if model.training or optimizer is not None else "infer", "torch": release(torch.__version__)}
    if optimizer is not None:
        run["optimizer"] = optimizer_name(optimizer)
    return {**run, **options}


def release(version: str) -> Optional[str]:
    """A release as the program takes it, or nothing of one that has another form."""
    found = re.match(r"\d+\.\d+(\.\d+)?", version)
    return found.group() if found else None


def file_name(name: str) -> str:
    """A name without what leads out of a folder."""
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "model"


def export(model: Any, inputs: tuple[Any, ...], kwargs: Optional[dict[str, Any]], dynamic_shapes: Any, path: str) -> None:
    """Writes the export of a module without the bytes of its weights."""
    import torch
    from torch._subclasses.fake_tensor import unset_fake_temporarily
    from torch.utils._pytree import tree_map_only

    # two modes do not mix: a caller's own is left for a while
    with unset_fake_temporarily(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fake = Fakes()
        module = fake.module(model)
        inputs, kwargs = tree_map_only(torch.Tensor, fake.tensor, (inputs, kwargs or {}))
        try:
            exported = torch.export.export(module, inputs, kwargs, dynamic_shapes=dynamic_shapes, strict=False)
            leave_out_bytes(exported)
            torch.export.save(exported, path)
        except Exception as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise MemplanError(f"{type(model).__name__}: torch.export cannot export it: {reason}") from error


class Fakes:
    """Tensors of one ``FakeTensorMode`` in place of others: on the host, of the same sizes, strides and types, without memory."""

    def __init__(self) -> None:
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        self._mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)

    def tensor(self, tensor: Any) -> Any:
        import torch

        with self._mode:
            fake = torch.empty_strided(tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device="cpu")
        if isinstance(tensor, torch.nn.Parameter):
            return torch.nn.Parameter(fake, requires_grad=tensor.requires_grad)
        return fake.requires_grad_(tensor.requires_grad)

    def module(self, module: Any) -> Any:
        """A copy of a module with fake parameters and buffers; one tensor under several names stays one."""
        states = [*module.parameters(), *module.buffers()]
        return copy.deepcopy(module, {id(state): self.tensor(state) for state in states})


def leave_out_bytes(exported: Any) -> None:
    """Puts one number, seen in each weight's sizes, in the place of each weight. What is tied stays so: the archive tells by the memory."""
    import torch

    numbers: dict[int, Any] = {}
    for name, weight in list(exported.state_dict.items()):
        if id(weight) not in numbers:
            number = torch.zeros((), dtype=weight.dtype, device="cpu").expand(weight.shape)
            is_parameter = isinstance(weight, torch.nn.Parameter)
            number = torch.nn.Parameter(number, requires_grad=weight.requires_grad) if is_parameter else number
            numbers[id(weight)] = number
        exported.state_dict[name] = numbers[id(weight)]


def optimizer_name(optimizer: Any) -> str:
    """An optimizer as ``--optimizer`` has it: its name, and the options that are not its class's defaults."""
    if isinstance(optimizer, str):
        return optimizer
    kind = optimizer if isinstance(optimizer, type) else type(optimizer)
    name = kind.__name__.lower()
    if kind.__module__.startswith("bitsandbytes") and not name.endswith("bit"):
        name += "32bit"
    chosen = {} if isinstance(optimizer, type) else changed(optimizer.defaults, inspect.signature(kind).parameters)
    return ",".join([name, *(f"{key}={value}" for key, value in chosen.items())])


def changed(defaults: dict[str, Any], parameters: Any) -> dict[str, str]:
    """The options of an optimizer that are not its class's defaults, of those that are numbers and switches."""
    given = {key: value for key, value in defaults.items() if key in parameters and value != parameters[key].default}
    betas = given.pop("betas", ())
    given.update({f"beta{number}": beta for number, beta in enumerate(betas, 1)})
    plain = {key: value for key, value in given.items() if isinstance(value, (bool, int, float))}
    return {key: str(value).lower() for key, value in plain.items()}
