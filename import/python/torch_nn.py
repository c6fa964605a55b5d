# torch.nn's modules as far as classes that derive from them see them (torch 2.15, torch/nn/modules): what they own, what forward does.

import torch
import torch.nn.functional as F
from torch.nn import Parameter


class Linear:
    def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(torch.zeros([out_features, in_features]))
        self.bias = Parameter(torch.zeros([out_features])) if bias else None

    def forward(self, input):
        return F.linear(input, self.weight, self.bias)


class Embedding:
    def __init__(self, num_embeddings, embedding_dim, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False, _weight=None, _freeze=False, device=None, dtype=None):
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.weight = Parameter(torch.zeros([num_embeddings, embedding_dim]), requires_grad=not _freeze)

    def forward(self, input):
        return F.embedding(input, self.weight)


class LayerNorm:
    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, device=None, dtype=None):
        self.normalized_shape = normalized_shape
        self.eps = eps
        self.weight = Parameter(torch.zeros([normalized_shape])) if elementwise_affine else None
        self.bias = Parameter(torch.zeros([normalized_shape])) if elementwise_affine and bias else None

    def forward(self, input):
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias)


class ModuleList:
    pass


class GroupNorm:
    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None):
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.weight = Parameter(torch.zeros([num_channels])) if affine else None
        self.bias = Parameter(torch.zeros([num_channels])) if affine else None

    def forward(self, input):
        return F.group_norm(input, self.num_groups, self.weight, self.bias)


class Conv1d:
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, padding_mode="zeros", device=None, dtype=None):
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size if isinstance(kernel_size, tuple) else (kernel_size,)
        self.stride = stride if isinstance(stride, tuple) else (stride,)
        self.padding = padding if isinstance(padding, tuple) else (padding,)
        self.dilation = dilation if isinstance(dilation, tuple) else (dilation,)
        self.groups = groups
        self.weight = Parameter(torch.zeros([out_channels, in_channels // groups, self.kernel_size[0]]))
        self.bias = Parameter(torch.zeros([out_channels])) if bias else None

    def forward(self, input):
        return F.conv1d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv2d:
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, padding_mode="zeros", device=None, dtype=None):
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
        self.stride = stride if isinstance(stride, tuple) else (stride, stride)
        self.padding = padding if isinstance(padding, tuple) else (padding, padding)
        self.dilation = dilation if isinstance(dilation, tuple) else (dilation, dilation)
        self.groups = groups
        self.weight = Parameter(torch.zeros([out_channels, in_channels // groups, self.kernel_size[0], self.kernel_size[1]]))
        self.bias = Parameter(torch.zeros([out_channels])) if bias else None

    def forward(self, input):
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv3d:
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, padding_mode="zeros", device=None, dtype=None):
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = tuple(kernel_size) if isinstance(kernel_size, (tuple, list)) else (kernel_size, kernel_size, kernel_size)
        self.stride = tuple(stride) if isinstance(stride, (tuple, list)) else (stride, stride, stride)
        self.padding = tuple(padding) if isinstance(padding, (tuple, list)) else (padding, padding, padding)
        self.dilation = tuple(dilation) if isinstance(dilation, (tuple, list)) else (dilation, dilation, dilation)
        self.groups = groups
        self.weight = Parameter(torch.zeros([out_channels, in_channels // groups, self.kernel_size[0], self.kernel_size[1], self.kernel_size[2]]))
        self.bias = Parameter(torch.zeros([out_channels])) if bias else None

    def forward(self, input):
        return F.conv3d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Upsample:
    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None):
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode

    def forward(self, input):
        return F.interpolate(input, self.size, self.scale_factor, self.mode)


class Sequential:
    def __init__(self, *args):
        if len(args) == 1 and isinstance(args[0], dict):
            for key, module in args[0].items():
                self.add_module(key, module)
        else:
            for place, module in enumerate(args):
                self.add_module(str(place), module)

    def forward(self, input):
        for module in self.children():
            input = module(input)
        return input


class BatchNorm1d:
    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None):
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight = Parameter(torch.zeros([num_features])) if affine else None
        self.bias = Parameter(torch.zeros([num_features])) if affine else None
        self.register_buffer("running_mean", torch.zeros([num_features]) if track_running_stats else None)
        self.register_buffer("running_var", torch.zeros([num_features]) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long) if track_running_stats else None)

    def forward(self, input):
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, self.training or self.running_mean is None, self.momentum, self.eps)


class BatchNorm2d(BatchNorm1d):
    pass


class MaxPool2d:
    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input):
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)


class AvgPool2d:
    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input):
        return F.avg_pool2d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override)


class PReLU:
    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        self.num_parameters = num_parameters
        self.weight = Parameter(torch.zeros([num_parameters]))

    def forward(self, input):
        return F.prelu(input, self.weight)


class ModuleDict:
    def __init__(self, modules=None):
        if modules is not None:
            for key, module in modules.items():
                self.add_module(key, module)
