#!/usr/bin/env python3
"""Records inference and generation with transformers' StaticCache, as record.py does with its DynamicCache.

    record_caches.py CASES.yaml --out TRUTH.jsonl [--only ID ...] [--trace DIR] [--stacks]

A case may say `cache: static` (or dynamic) and `max_cache_len: N`, the tokens that it holds of each sequence; by default all that
the run has. Each step of the loop has a cache of its own. Encoder-decoder models have one for the decoder's own keys and values,
and one as long as the encoder's input, as transformers' generation makes them. ORACLE names record.py's folder.
"""
import os, sys

sys.path.insert(0, os.environ.get("ORACLE", os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import record_encoder_decoder as of_encoder_decoders
import record

inputs_of_a_language_model, inputs_of_an_encoder_decoder = of_encoder_decoders.inputs_of_a_language_model, record.inputs_for


def inputs_for(case, model, torch):
    both = model.config.is_encoder_decoder
    batch = (inputs_of_an_encoder_decoder if both else inputs_of_a_language_model)(case, model, torch)
    if case.get("cache") == "static":
        plain = model.__class__.forward.__get__(model)
        forward = with_static_cache(model, plain, case)
        generates = both and case["mode"] == "generate"
        model.forward = of_encoder_decoders.generating(model, forward, case, torch) if generates else forward
    return batch


def with_static_cache(model, forward, case):
    def call(*args, past_key_values=None, **kwargs):
        return forward(*args, past_key_values=past_key_values if past_key_values is not None else new_cache(model, case), **kwargs)

    return call


def new_cache(model, case):
    from transformers import EncoderDecoderCache, StaticCache
    config = model.config.get_text_config(decoder=True)
    both = model.config.is_encoder_decoder
    generates = case["mode"] == "generate"
    tokens = (1 if both and generates else case["seq"]) + (case["new_tokens"] if generates else 0)
    own = StaticCache(config=config, max_cache_len=case.get("max_cache_len") or tokens)
    return EncoderDecoderCache(own, StaticCache(config=config, max_cache_len=case["seq"])) if both else own


record.inputs_for = inputs_for
of_encoder_decoders.__file__ = __file__

if __name__ == "__main__":
    of_encoder_decoders.main()
