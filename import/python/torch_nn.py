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
        return F.layer_norm(input, self.weight, self.bias)


class ModuleList:
    pass
