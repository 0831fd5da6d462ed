"""Strings as sequences of tokens: tokenizers, vocabularies, lengths and one Transformer, shared by four families."""
