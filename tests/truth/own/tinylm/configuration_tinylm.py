from transformers import PretrainedConfig


class TinyLMConfig(PretrainedConfig):
    model_type = "tinylm"

    def __init__(self, vocab_size=640, width=192, depth=3, heads=6, ratio=4, dropout=0.1, pad_token_id=0, **kwargs):
        self.vocab_size = vocab_size
        self.width = width
        self.depth = depth
        self.heads = heads
        self.hidden = ratio * width
        self.dropout = dropout
        self.num_hidden_layers = depth
        self.hidden_size = width
        super().__init__(pad_token_id=pad_token_id, tie_word_embeddings=False, **kwargs)
