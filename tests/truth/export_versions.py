"""Exports a small model with the PyTorch that runs it: tests/truth/exports/versions holds the graphs, without weights, that
2.8 and 2.11 write (models/model.json of the archive, gzip)."""

import torch, sys
import torch.nn as nn, torch.nn.functional as F
class Block(nn.Module):
    def __init__(s,d,h):
        super().__init__(); s.ln=nn.LayerNorm(d); s.qkv=nn.Linear(d,3*d); s.o=nn.Linear(d,d); s.ln2=nn.LayerNorm(d); s.up=nn.Linear(d,4*d); s.down=nn.Linear(4*d,d); s.h=h
    def forward(s,x):
        b,t,d=x.shape
        y=s.ln(x)
        q,k,v=s.qkv(y).view(b,t,3,s.h,d//s.h).permute(2,0,3,1,4).unbind(0)
        a=F.scaled_dot_product_attention(q,k,v,is_causal=True).transpose(1,2).reshape(b,t,d)
        x=x+s.o(a)
        return x+s.down(F.gelu(s.up(s.ln2(x))))
class Net(nn.Module):
    def __init__(s):
        super().__init__(); s.emb=nn.Embedding(1000,256); s.blocks=nn.ModuleList([Block(256,8) for _ in range(3)]); s.ln=nn.LayerNorm(256); s.head=nn.Linear(256,1000,bias=False); s.head.weight=s.emb.weight
    def forward(s,ids):
        x=s.emb(ids)
        for b in s.blocks: x=b(x)
        return s.head(s.ln(x))
m=Net().train()
b=torch.export.Dim("b",min=2,max=512)
ep=torch.export.export(m,(torch.zeros(4,64,dtype=torch.long),),dynamic_shapes=({0:b},))
torch.export.save(ep,sys.argv[1]); print(torch.__version__, len(list(ep.graph.nodes)))
