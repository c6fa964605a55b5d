"""Modules of PyTorch; skipped where it is not installed."""

import pytest

import memplan

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    """A language model of two layers whose head is tied to its embeddings."""

    def __init__(self, size=64):
        super().__init__()
        self.embed = torch.nn.Embedding(1000, size)
        self.first = torch.nn.Linear(size, size)
        self.second = torch.nn.Linear(size, size)
        self.head = torch.nn.Linear(size, 1000, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("shift", torch.zeros(size), persistent=False)

    def forward(self, ids, scale=None):
        hidden = self.second(torch.relu(self.first(self.embed(ids)))) + self.shift
        return self.head(hidden if scale is None else hidden * scale)


PARAMETERS = 1000 * 64 + 2 * (64 * 64 + 64)


def ids():
    return torch.zeros(4, 16, dtype=torch.long)


def test_a_module_is_planned_wherever_it_lies():
    plan = memplan.estimate(Net(), ids())
    assert plan.data["parameters"]["count"] == PARAMETERS and plan.data["run"]["mode"] == "train"
    with torch.device("meta"):
        meta = Net()
        meta.head.weight = meta.embed.weight
        assert memplan.estimate(meta, ids()).data == plan.data
    with torch._subclasses.FakeTensorMode():
        assert memplan.estimate(Net(), ids()).data == plan.data
    assert "<svg " in plan._repr_html_()


def test_a_module_is_left_as_it_was():
    net = Net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    memplan.estimate(net, ids(), kwargs={"scale": torch.ones(64)})
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_huge_module_takes_no_memory():
    with torch.device("meta"):
        layers = torch.nn.Sequential(*(torch.nn.Linear(32768, 32768, dtype=torch.bfloat16) for _ in range(8)))
    plan = memplan.estimate(layers, torch.empty(1, 32768, dtype=torch.bfloat16), gpu="t4")
    assert not plan.fits and plan.data["parameters"]["count"] == 8 * (32768 * 32768 + 32768)


def test_optimizers_have_names():
    from memplan._estimate import optimizer_name

    net = Net()
    assert optimizer_name("adamw8bit") == "adamw8bit"
    assert optimizer_name(torch.optim.SGD) == "sgd"
    assert optimizer_name(torch.optim.AdamW(net.parameters())) == "adamw"
    assert optimizer_name(torch.optim.Adam(net.parameters(), amsgrad=True, foreach=False)) == "adam,amsgrad=true,foreach=false"
    assert optimizer_name(torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)) == "sgd,lr=0.1,momentum=0.9"
    assert optimizer_name(torch.optim.Adam(net.parameters(), betas=(0.8, 0.9))) == "adam,beta1=0.8,beta2=0.9"


@pytest.mark.parametrize("name", ["Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RMSprop", "SGD"])
def test_optimizers_are_planned(name):
    net, kind = Net(), getattr(torch.optim, name)
    by_class = memplan.estimate(net, ids(), optimizer=kind)
    assert by_class.data["run"]["optimizer"].startswith(name.lower())
    assert memplan.estimate(net, ids(), optimizer=kind(net.parameters())).peak_allocated == by_class.peak_allocated


def test_inference_is_planned_of_modules_in_eval_mode():
    plan = memplan.estimate(Net().eval(), ids(), name="my net")
    assert plan.data["run"]["mode"] == "infer" and plan.data["model"]["name"] == "my_net.pt2"


def test_sizes_may_be_left_open():
    batch = torch.export.Dim("batch")
    shapes = {"ids": {0: batch}}
    plans = [memplan.estimate(Net(), ids(), dynamic_shapes=shapes, batch=size) for size in (4, 8)]
    assert plans[0].peak_allocated == memplan.estimate(Net(), ids()).peak_allocated < plans[1].peak_allocated


def test_what_cannot_be_exported_is_an_error():
    class Net(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(memplan.MemplanError, match="Net: torch.export cannot export it: "):
        memplan.estimate(Net(), torch.zeros(2))
