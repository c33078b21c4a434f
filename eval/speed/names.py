"""The systems whose speed is compared."""

from __future__ import annotations

REET, LARGE, SMALL, CROSS, BM25 = "reet", "llmlingua2_large", "llmlingua2_small", "cross_encoder", "bm25"
NAMES = {
    REET: "**REET**",
    LARGE: "LLMLingua-2, XLM-RoBERTa-large",
    SMALL: "LLMLingua-2, multilingual BERT-base",
    CROSS: "cross-encoder of our size",
    BM25: "BM25 over sentences",
}
